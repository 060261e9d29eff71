"""What the gateway counts, beside what every server does."""

from __future__ import annotations

from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

from common.server.telemetry import Metrics
from services.gateway.recommendation.concurrency_limit import AdaptiveConcurrencyLimit
from services.gateway.recommendation.request import Stages
from services.gateway.recommendation.result import DegradationKind, RecommendResult

# What an answer before weighs in the share of the tail lately: some thousand answers count.
_KEPT: Final = 0.999


_COUNTS: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


class GatewayMetrics:
    """Recommendations by stages wanted, degradations by kind, and how many items came and went on the way."""

    def __init__(self, metrics: Metrics) -> None:
        names: dict[str, Any] = {"namespace": metrics.namespace, "registry": metrics.registry}
        self._metrics = metrics
        self._release_id = ""
        self._answers = Counter(
            "recommendations", "Answers given, by the stages that were asked for.", ["stages"], **names
        )
        self._degradations = Counter("degradations", "What went wrong in answers given.", ["kind"], **names)
        self._candidates = Histogram("candidates", "Candidates of an answer.", buckets=_COUNTS, **names)
        self._items = Histogram("items", "Items of an answer.", buckets=_COUNTS, **names)
        self._tail_items = Counter("long_tail_items", "Items of answers that are of the long tail.", **names)
        self._tail_swaps = Counter("long_tail_substitutions", "Items that came in for the tail's share.", **names)
        self._tail_share = Gauge("long_tail_share", "The tail's share of the items lately answered.", **names)
        self._lately = (0.0, 0.0)
        self._below = Counter("below_threshold", "Candidates that the probability threshold left out.", **names)
        self._call_limit = Gauge("call_limit", "Calls of Recommend that may be under way.", **names)
        self._late = Gauge("answer_lateness_seconds", "By how much answers lately came later than planned.", **names)
        for kind in DegradationKind:  # so that a rate over them has a zero to start from
            self._degradations.labels(kind=kind)

    def watch_load(self, load: AdaptiveConcurrencyLimit) -> None:
        """Have the metrics show what the gateway learns of its load."""
        self._call_limit.set_function(lambda: load.limit)
        self._late.set_function(lambda: load.late_s)

    def observe(self, answer: RecommendResult, stages: Stages) -> None:
        """Count one answer."""
        self._answers.labels(stages=stages).inc()
        for degradation in answer.degradations:
            self._degradations.labels(kind=degradation.kind).inc()
        for stage, ms in answer.timings_ms.items():
            self._metrics.stage_seconds.labels(stage=stage).observe(ms / 1e3)
        self._candidates.observe(len(answer.candidates))
        self._items.observe(len(answer.items))
        self._below.inc(answer.below_threshold)
        self._observe_tail(answer)
        self._tell_release(answer.release_id)

    def _observe_tail(self, answer: RecommendResult) -> None:
        self._tail_items.inc(answer.long_tail_items)
        self._tail_swaps.inc(len(answer.swaps))
        tail, items = (_KEPT * value for value in self._lately)
        self._lately = (tail + answer.long_tail_items, items + len(answer.items))
        if self._lately[1]:
            self._tail_share.set(self._lately[0] / self._lately[1])

    def _tell_release(self, release_id: str) -> None:
        if release_id and release_id != self._release_id:
            self._release_id = release_id
            self._metrics.set_release(release_id)
