"""The gateway's own metrics, in addition to those of every server."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Sequence
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram
from shortlist.ranking.v1 import ranking_pb2

from common.server.telemetry import Metrics, exemplar_of
from services.gateway.answers.answer_cache import AnswerCache, Reuse
from services.gateway.backends.guarded_profiles import GuardedProfiles
from services.gateway.backends.replicas.replica_set import ReplicaSet
from services.gateway.backends.shadow_ranking import ShadowRanking
from services.gateway.experiments.experiments import Experiments
from services.gateway.impressions.impression_log import ImpressionLog
from services.gateway.recommendation.concurrency_limit import AdaptiveConcurrencyLimit
from services.gateway.recommendation.request import Stages
from services.gateway.recommendation.result import DegradationKind, RecommendResult
from services.gateway.related_items.plan import Plan
from services.gateway.related_items.related_items import RelatedItemsResult
from services.gateway.rules.application import PolicyStep
from services.gateway.rules.rule_book import RuleBook
from services.gateway.server.experiment_services import ExperimentCollector, ShadowCollector
from services.gateway.server.impression_metrics import ImpressionCollector
from services.gateway.server.replica_metrics import BackendCollector

# The weight that older answers keep with each new one: `long_tail_share` averages over about 1,000 answers.
_DECAY: Final = 0.999
_SHARE_BUCKETS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_COUNT_BUCKETS: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)

_TIERS: Final[dict[int, str]] = {
    ranking_pb2.TIER_LATE_INTERACTION: "late_interaction",
    ranking_pb2.TIER_CROSS_ENCODER: "cross_encoder",
}


class GatewayMetrics:
    """Metrics of recommendations: stages, degradations, candidates, items, long tail, concurrency limit."""

    def __init__(self, metrics: Metrics) -> None:
        names: dict[str, Any] = {"namespace": metrics.namespace, "registry": metrics.registry}
        self._metrics = metrics
        self._release_id = ""
        self._answers = Counter("recommendations", "Answers, by the stages requested.", ["stages"], **names)
        self._degradations = Counter("degradations", "Degradations in answers, by kind.", ["kind"], **names)
        self._degraded = Counter("degraded_recommendations", "Answers with a degradation.", **names)
        self._candidates = Histogram("candidates", "Candidates per answer.", buckets=_COUNT_BUCKETS, **names)
        self._items = Histogram("items", "Items per answer.", buckets=_COUNT_BUCKETS, **names)
        self._below = Counter("below_threshold", "Candidates that the probability threshold left out.", **names)
        self._duplicates = Counter("duplicates", "Candidates left out because a better one has the same text.", **names)
        self._long_tail_items = Counter("long_tail_items", "Long-tail items in answers.", **names)
        self._new_items = Counter("new_items", "Items in answers that were added since the release.", **names)
        self._new_substitutions = Counter(
            "new_item_substitutions", "Items replaced by new items to reach their minimum share.", **names
        )
        self._diversity = Histogram(
            "intra_list_diversity",
            "1 minus the mean cosine of all pairs of items of an answer, where a diversity holds.",
            buckets=_SHARE_BUCKETS,
            **names,
        )
        self._rule_effects = Counter(
            "rule_effects",
            "Items that rules removed, lifted, buried, placed or displaced.",
            ["kind", "effect"],
            **names,
        )
        self._rules_version = Gauge("rules_version", "Version of the rules that this gateway applies.", **names)
        self._rules = Gauge("rules", "Rules that this gateway knows.", **names)
        self._substitutions = Counter(
            "long_tail_substitutions", "Items replaced by long-tail items to reach the minimum share.", **names
        )
        self._answer_cache = Counter(
            "answer_cache_requests",
            "Requests by whether their answer was shared with another one.",
            ["outcome"],
            **names,
        )
        self._kept_answers = Gauge("kept_answers", "Answers that are kept for identical requests.", **names)
        self._batch_answers = Counter(
            "batch_answers", "Answers to requests of BatchRecommend, by status.", ["code"], **names
        )
        self._related_items = Histogram(
            "related_items",
            "Items per answer of SimilarItems and RelatedToCart.",
            ["plan"],
            buckets=_COUNT_BUCKETS,
            **names,
        )
        self._related_from = Counter(
            "related_items_found",
            "Items of those answers, by each source that found them.",
            ["plan", "source"],
            **names,
        )
        self._long_tail_share = Gauge("long_tail_share", "Share of long-tail items in recent answers.", **names)
        self._tier_items = Counter(
            "tier_items",
            "Candidates that the second stage's text tiers were to score, by whether they did or left them out.",
            ["tier", "outcome"],
            **names,
        )
        self._recent_long_tail_items = 0.0
        self._recent_items = 0.0
        self._call_limit = Gauge("call_limit", "Maximum number of concurrent calls of Recommend.", **names)
        self._lateness = Gauge(
            "answer_lateness_seconds", "By how much recent answers were later than planned.", **names
        )
        self._backends = BackendCollector(metrics.namespace)
        metrics.registry.register(self._backends)
        for outcome in Reuse:
            self._answer_cache.labels(outcome=outcome)
        for kind in DegradationKind:  # a rate needs a first value of zero
            self._degradations.labels(kind=kind)

    def watch_limit(self, limit: AdaptiveConcurrencyLimit) -> None:
        """Export the concurrency limit and the lateness from which it is derived."""
        self._call_limit.set_function(lambda: limit.limit)
        self._lateness.set_function(lambda: limit.lateness_s)

    def watch_rules(self, rules: RuleBook) -> None:
        """Export the version and the number of the rules."""
        self._rules_version.set_function(lambda: rules.current.version)
        self._rules.set_function(lambda: len(rules.current.rules))

    def watch_replicas(self, replicas: ReplicaSet) -> None:
        """Export the circuit breakers, retries and hedges of a service."""
        self._backends.add(replicas)

    def watch_profiles(self, profiles: GuardedProfiles) -> None:
        """Export the circuit breaker of the profiles."""
        self._backends.add_profiles(profiles)

    def watch_impressions(self, log: ImpressionLog) -> None:
        """Export how many records the log of impressions has and has lost."""
        self._metrics.registry.register(ImpressionCollector(self._metrics.namespace, log))

    def watch_experiments(self, experiments: Experiments) -> None:
        """Export the answers of each variant."""
        self._metrics.registry.register(ExperimentCollector(self._metrics.namespace, experiments))

    def watch_shadow(self, shadow: ShadowRanking) -> None:
        """Export what became of shadow traffic."""
        self._metrics.registry.register(ShadowCollector(self._metrics.namespace, shadow))

    def observe_answer(self, result: RecommendResult, stages: Stages, trace_id: str = "") -> None:
        """Count one answer; its trace, if it has one, is an exemplar of its stages' durations."""
        exemplar = exemplar_of(trace_id)
        self._answers.labels(stages=stages).inc()
        self._degraded.inc(bool(result.degradations))
        for degradation in result.degradations:
            self._degradations.labels(kind=degradation.kind).inc()
        for stage, ms in result.timings_ms.items():
            self._metrics.stage_seconds.labels(stage=stage).observe(ms / 1e3, exemplar)
        self._items.observe(len(result.items))
        if result.age_s is None:
            self._observe_work(result)
        self._observe_long_tail(result)
        self._set_release(result.release_id)

    def _observe_work(self, result: RecommendResult) -> None:
        """Count what was done for an answer that was computed for its request."""
        self._candidates.observe(len(result.candidates))
        self._below.inc(result.below_threshold)
        self._duplicates.inc(result.duplicates)
        for use in result.tiers:
            name = _TIERS.get(use.tier, "unknown")
            self._tier_items.labels(tier=name, outcome="scored").inc(use.scored)
            self._tier_items.labels(tier=name, outcome="left_out").inc(use.left_out)

    def watch_answers(self, answers: AnswerCache) -> None:
        """Export how many answers are kept."""
        self._kept_answers.set_function(lambda: len(answers))

    def count_reuse(self, reuse: Reuse) -> None:
        """Count an answer by where it came from."""
        self._answer_cache.labels(outcome=reuse).inc()

    def count_batch_answer(self, code: str) -> None:
        """Count the answer to one request of a batch, by the name of its status."""
        self._batch_answers.labels(code=code).inc()

    def observe_related(self, plan: Plan, result: RelatedItemsResult) -> None:
        """Count an answer of SimilarItems or RelatedToCart."""
        self._related_items.labels(plan=plan.name).observe(len(result.items))
        self._count_effects(result.steps)
        for degradation in result.degradations:
            self._degradations.labels(kind=degradation.kind).inc()
        for source, count in Counts(name for item in result.items for name, _ in item.candidate.sources).items():
            self._related_from.labels(plan=plan.name, source=source).inc(count)

    def _observe_long_tail(self, result: RecommendResult) -> None:
        self._long_tail_items.inc(result.long_tail_items)
        for_new_items = sum(each.for_new_items for each in result.substitutions)
        self._substitutions.inc(len(result.substitutions) - for_new_items)
        self._new_substitutions.inc(for_new_items)
        self._new_items.inc(result.new_items)
        self._count_effects(result.steps)
        if result.intra_list_diversity is not None:
            self._diversity.observe(result.intra_list_diversity)
        self._recent_long_tail_items = _DECAY * self._recent_long_tail_items + result.long_tail_items
        self._recent_items = _DECAY * self._recent_items + len(result.items)
        if self._recent_items:
            self._long_tail_share.set(self._recent_long_tail_items / self._recent_items)

    def _count_effects(self, steps: Sequence[PolicyStep]) -> None:
        for step in steps:
            self._rule_effects.labels(kind=step.rule.kind, effect=step.effect).inc()

    def _set_release(self, release_id: str) -> None:
        if release_id and release_id != self._release_id:
            self._release_id = release_id
            self._metrics.set_release(release_id)
