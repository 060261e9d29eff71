"""Ranked candidates for tests of the policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from services.gateway.candidates import Candidate, RankedCandidate


@pytest.fixture
def ranked() -> Callable[..., RankedCandidate]:
    """Return a function that makes a ranked candidate from an id, a probability and attributes."""

    def make(item_id: str, probability: float | None = None, **attributes: Any) -> RankedCandidate:
        return RankedCandidate(Candidate(item_id, 1.0, **attributes), 1, probability)

    return make
