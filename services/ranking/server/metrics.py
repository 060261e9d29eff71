"""What the ranking service counts, beside what every server does."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from prometheus_client import Counter, Gauge, Histogram, Info

from common.errors import DeadlineTooShort, Overloaded
from common.server.telemetry import Metrics
from services.ranking.batching.batcher import BatchReport
from services.ranking.cascade.results import Ranking, Tier
from services.ranking.cascade.second_stage import SecondStage

_COUNTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


_TOKENS: Final = (64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)


_REASONS: Final = {Overloaded: "queue_full", DeadlineTooShort: "deadline"}


class RankingMetrics:
    """The queue, its batches, where logits came from, what was refused, and the models in use."""

    def __init__(self, metrics: Metrics) -> None:
        names: dict[str, Any] = {"namespace": metrics.namespace, "registry": metrics.registry}
        self._stages = metrics.stage_seconds
        self._loaded: weakref.WeakSet[SecondStage] = weakref.WeakSet()
        queue = Gauge("queued_pairs", "Pairs that wait for the cross-encoder.", **names)
        queue.set_function(lambda: sum(stage.max_queued_pairs for stage in list(self._loaded)))
        self._rows = Histogram("batch_pairs", "Pairs of a batch.", buckets=_COUNTS, **names)
        self._tokens = Histogram("batch_tokens", "Tokens of a batch, padding included.", buckets=_TOKENS, **names)
        self._padding = Counter("padding_tokens", "Tokens of batches that were padding.", **names)
        self._failed = Counter("failed_pairs", "Pairs that the cross-encoder failed on.", **names)
        self._pairs = Counter(
            "pairs",
            "Distinct pairs that were read, reused from before, or left for lack of time.",
            ["outcome"],
            **names,
        )
        self._tiers = Counter("ranked_items", "Candidates answered, by the tier that ranked them.", ["tier"], **names)
        self._ignored = Counter("ignored_history_items", "Items of histories that the release does not know.", **names)
        self._refused = Counter("refused", "Calls refused, by reason.", ["reason"], **names)
        self._models = Info("models", "Execution provider and precision of the models in use.", **names)
        for reason in _REASONS.values():  # so that a rate over them has a zero to start from
            self._refused.labels(reason=reason)

    def loaded(self, stage: SecondStage) -> None:
        """Tell which models are in use, and watch the queue of a second stage."""
        self._loaded.add(stage)
        cards = stage.release.manifest.models
        told = {f"{name}_provider": provider for name, provider in stage.providers.items()}
        self._models.info(told | {f"{name}_precision": cards[name].precision for name in stage.providers})

    def observe_batch(self, report: BatchReport) -> None:
        """Count one batch; from any thread."""
        self._rows.observe(report.rows)
        self._tokens.observe(report.padded_tokens)
        self._padding.inc(report.padded_tokens - report.tokens)
        self._failed.inc(report.failed)
        self._stages.labels(stage="infer").observe(report.ms / 1e3)

    def observe(self, ranking: Ranking, ignored: int) -> None:
        """Count one answer."""
        reading = ranking.reading
        for outcome, count in (("read", reading.read), ("reused", reading.reused), ("unread", reading.unread)):
            self._pairs.labels(outcome=outcome).inc(count)
        for tier, count in enumerate(np.bincount(ranking.tiers)):
            if count:
                self._tiers.labels(tier=Tier(tier).name.lower()).inc(int(count))
        self._ignored.inc(ignored)
        self._stages.labels(stage="queue_wait").observe(reading.scores.queue_wait_ms / 1e3)
        self._stages.labels(stage="tokenise").observe(ranking.tokenise_ms / 1e3)
        self._stages.labels(stage="late_interaction").observe(ranking.late_ms / 1e3)
        self._stages.labels(stage="fuse").observe(ranking.fuse_ms / 1e3)

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Count what the body refuses."""
        try:
            yield
        except (Overloaded, DeadlineTooShort) as error:
            self._refused.labels(reason=_REASONS[type(error)]).inc()
            raise
