"""Vectors by label, some of which can be found."""

from __future__ import annotations

from dataclasses import dataclass

from common.arrays import BoolMask


@dataclass(frozen=True, eq=False)
class Passing:
    """Which labels can be found.

    Attributes:
        mask: As long as the table; None where every label can.
        count: How many can.
    """

    mask: BoolMask | None
    count: int
