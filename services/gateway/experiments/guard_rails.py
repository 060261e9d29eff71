"""Guard rails: a variant whose answers fail or are late is stopped until the gateway starts again."""

from __future__ import annotations

from collections import deque
from typing import Final

import structlog

from services.gateway.experiments.experiment import Experiment, Variant

_WINDOW: Final = 1_000
# The percentile is looked at once for this many answers: sorting the window at each would cost more than it tells.
_LOOK_EVERY: Final = 50
_PERCENTILE: Final = 0.95
_log = structlog.get_logger()


class GuardedVariant:
    """A variant with its latest answers.

    Attributes:
        variant: The variant.
        answers: How many answers it gave.
        degraded: How many of them were degraded or failed.
        stopped: Why it was stopped; empty if it was not.
    """

    def __init__(self, experiment: Experiment, variant: Variant, *, is_control: bool) -> None:
        self._experiment = experiment
        self._is_control = is_control
        self._bad: deque[bool] = deque(maxlen=_WINDOW)
        self._total_ms: deque[float] = deque(maxlen=_WINDOW)
        self.variant = variant
        self.answers = 0
        self.degraded = 0
        self.stopped = ""

    def observe(self, total_ms: float, *, is_bad: bool) -> None:
        """Count an answer; ``is_bad`` if it is degraded or there is none."""
        self.answers += 1
        self.degraded += is_bad
        self._bad.append(is_bad)
        self._total_ms.append(total_ms)
        if self._is_control or self.stopped or len(self._bad) < min(self._experiment.min_answers, _WINDOW):
            return
        reason = self._too_bad() or (self._too_slow() if self.answers % _LOOK_EVERY == 0 else "")
        if reason:
            self.stopped = reason
            _log.error(
                "a variant was stopped", experiment=self._experiment.name, variant=self.variant.name, reason=reason
            )

    def _too_bad(self) -> str:
        share, bound = sum(self._bad) / len(self._bad), self._experiment.max_degraded_share
        if bound is None or share <= bound:
            return ""
        return f"{share:.1%} of its latest answers were degraded or failed, more than {bound:.1%}"

    def _too_slow(self) -> str:
        bound = self._experiment.max_p95_ms
        if bound is None:
            return ""
        p95_ms = sorted(self._total_ms)[int(_PERCENTILE * (len(self._total_ms) - 1))]
        return f"its 95th percentile is {p95_ms:.0f} ms, above {bound:.0f} ms" if p95_ms > bound else ""
