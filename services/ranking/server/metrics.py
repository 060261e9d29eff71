"""The ranking service's metrics, in addition to those of every server."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from prometheus_client import Counter, Gauge, Histogram, Info

from common.errors import DeadlineTooShort, Overloaded
from common.server.telemetry import Metrics
from services.ranking.batching.batcher import BatchReport
from services.ranking.cascade.results import Ranking, Tier
from services.ranking.cascade.second_stage import SecondStage

_PAIR_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKEN_BUCKETS: Final = (64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768)
_REASONS: Final = {Overloaded: "queue_full", DeadlineTooShort: "deadline"}


class RankingMetrics:
    """Metrics of queue, batches, pairs, refusals and models."""

    def __init__(self, metrics: Metrics) -> None:
        names: dict[str, Any] = {"namespace": metrics.namespace, "registry": metrics.registry}
        self._stages = metrics.stage_seconds
        self._loaded: weakref.WeakSet[SecondStage] = weakref.WeakSet()
        queue = Gauge("queued_pairs", "Pairs that wait for the cross-encoder.", **names)
        queue.set_function(lambda: sum(stage.queued_pairs for stage in list(self._loaded)))
        self._rows = Histogram("batch_pairs", "Pairs of a batch.", buckets=_PAIR_BUCKETS, **names)
        self._tokens = Histogram(
            "batch_tokens", "Tokens of a batch, padding included.", buckets=_TOKEN_BUCKETS, **names
        )
        self._padding = Counter("padding_tokens", "Tokens of batches that were padding.", **names)
        self._failed = Counter("failed_pairs", "Pairs that the cross-encoder failed on.", **names)
        self._pairs = Counter(
            "pairs",
            "Distinct pairs that were read, reused from the cache or another call, or skipped for lack of time.",
            ["outcome"],
            **names,
        )
        self._tiers = Counter("ranked_items", "Candidates by the tier that ranked them.", ["tier"], **names)
        self._tier_items = Counter(
            "tier_items",
            "Candidates that late interaction and cross-encoder were to score, by whether they did or left them out.",
            ["tier", "outcome"],
            **names,
        )
        self._ignored = Counter("ignored_history_items", "Items of histories that the release does not know.", **names)
        self._refused = Counter("refused", "Calls refused, by reason.", ["reason"], **names)
        self._texts_connected = Gauge(
            "item_texts_connected",
            "1 while the texts of changed items are followed.",
            **names,
        )
        self._models = Info("models", "Execution provider and precision of the models in use.", **names)
        for reason in _REASONS.values():  # so that a rate has a zero to start from
            self._refused.labels(reason=reason)

    def watch_texts(self, *, connected: bool) -> Callable[[bool], None]:
        """Export whether the texts of changed items are followed; returns what to call when that changes."""
        self._texts_connected.set(connected)
        return self._texts_connected.set

    def register(self, stage: SecondStage) -> None:
        """Export the models of a second stage and watch its queue."""
        self._loaded.add(stage)
        cards = stage.release.manifest.models
        providers = {f"{name}_provider": provider for name, provider in stage.providers.items()}
        self._models.info(providers | {f"{name}_precision": cards[name].precision for name in stage.providers})

    def observe_batch(self, report: BatchReport) -> None:
        """Count one batch; may be called from any thread."""
        self._rows.observe(report.rows)
        self._tokens.observe(report.padded_tokens)
        self._padding.inc(report.padded_tokens - report.tokens)
        self._failed.inc(report.failed)
        self._stages.labels(stage="infer").observe(report.ms / 1e3)

    def observe_ranking(self, ranking: Ranking, ignored_items: int) -> None:
        """Count one answered call."""
        pairs = ranking.pairs
        for outcome, count in (("read", pairs.read), ("reused", pairs.reused), ("skipped", pairs.skipped)):
            self._pairs.labels(outcome=outcome).inc(count)
        for tier, count in enumerate(np.bincount(ranking.tiers)):
            if count:
                self._tiers.labels(tier=Tier(tier).name.lower()).inc(int(count))
        for use in ranking.uses:
            for outcome, count in (("scored", use.scored), ("left_out", use.left_out)):
                self._tier_items.labels(tier=use.tier.name.lower(), outcome=outcome).inc(count)
        self._ignored.inc(ignored_items)
        self._stages.labels(stage="queue_wait").observe(pairs.scores.queue_wait_ms / 1e3)
        self._stages.labels(stage="tokenise").observe(ranking.tokenise_ms / 1e3)
        self._stages.labels(stage="late_interaction").observe(ranking.late_ms / 1e3)
        self._stages.labels(stage="fuse").observe(ranking.fuse_ms / 1e3)

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Count the errors of the body that refuse a call."""
        try:
            yield
        except (Overloaded, DeadlineTooShort) as error:
            self._refused.labels(reason=_REASONS[type(error)]).inc()
            raise
