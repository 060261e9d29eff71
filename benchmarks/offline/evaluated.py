"""The recorded figures of an evaluation through the gateway."""

from __future__ import annotations

from typing import Any, Final

from pipeline.measurement.metrics.evaluation_result import Evaluation

_RECORDED: Final = {"measures", "over", "coverage", "shares", "latency", "degraded"}


def evaluation_figures(found: Evaluation) -> dict[str, Any]:
    """Return the figures of each mode and each slice as plain values."""
    modes = {name: mode.model_dump(include=_RECORDED) for name, mode in found.modes.items()}
    return modes | {"slices": [part.model_dump() for part in found.slices]}
