"""The gateway server: creates the components and connects them to the RPC methods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from shortlist.gateway.v1 import gateway_pb2_grpc, rules_pb2_grpc
from shortlist.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from shortlist.release.v1 import release_pb2_grpc
from shortlist.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub

from common.errors import NotReady
from common.server.channel import open_channel
from common.server.health import Dependencies
from common.server.telemetry import Metrics
from services.gateway.answers.answer_cache import AnswerCache
from services.gateway.backends.catalogue_client import CatalogueClient
from services.gateway.backends.grpc_clients import GrpcRanking, GrpcRetrieval
from services.gateway.backends.guarded_profiles import GuardedProfiles
from services.gateway.backends.popular_fallback import PopularItems
from services.gateway.backends.release_alignment import align_releases
from services.gateway.backends.release_client import ReleaseClient
from services.gateway.backends.release_coordinator import ReleaseCoordinator
from services.gateway.backends.replicas.addresses import split_addresses
from services.gateway.backends.replicas.replica import Replica
from services.gateway.backends.replicas.replica_set import ReplicaSet
from services.gateway.backends.shadow_ranking import ShadowRanking
from services.gateway.backends.stages import RankingBackend, RetrievalBackend
from services.gateway.experiments.experiment import read_experiments
from services.gateway.experiments.experiments import Experiments
from services.gateway.impressions.impression_log import ImpressionLog
from services.gateway.profiles.profile_store import BadProfileStore, ProfileStore, ProfileStoreUnavailable
from services.gateway.profiles.pseudonyms import read_key
from services.gateway.profiles.redis_address import RedisAddress, is_redis
from services.gateway.profiles.redis_store import RedisProfileStore
from services.gateway.profiles.retention import erase_old_events
from services.gateway.profiles.sqlite_store import SqliteProfileStore
from services.gateway.recommendation.recommender import Recommender
from services.gateway.related_items.related_items import RelatedItemFinder
from services.gateway.rules.rule_book import RuleBook
from services.gateway.server.components import BatchOptions, Components
from services.gateway.server.experiment_services import (
    FOR_COMPARISON,
    SHADOW,
    VARIANT_RANKING,
    VARIANT_RETRIEVAL,
    check_addresses,
)
from services.gateway.server.methods.rule_messages import decode_rules, encode_rules
from services.gateway.server.methods.rules import RULE_SERVICE, RuleService
from services.gateway.server.metrics import GatewayMetrics
from services.gateway.server.service import (
    RECOMMENDATION_SERVICE,
    RELEASE_SERVICE,
    RecommendationService,
    ReleaseService,
)
from services.gateway.settings import Settings

_DAY_S: Final = 86_400.0
_log = structlog.get_logger()


class GatewayServer:
    """The gateway as `common.server.server` runs it; it also serves while the services behind it do not."""

    names: Sequence[str] = (RECOMMENDATION_SERVICE, RELEASE_SERVICE, RULE_SERVICE)

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        shared = (GuardedProfiles.service,) if is_redis(settings.profiles) else ()
        self.dependencies = Dependencies(("retrieval", "ranking", *shared))
        self._settings = settings
        self._metrics = GatewayMetrics(metrics)
        self._components: Components | None = None
        self._resources = AsyncExitStack()

    def register(self, server: grpc.aio.Server) -> None:
        """Add the services to a server."""
        settings, options = self._settings, self._settings.recommender_options()
        batches = BatchOptions(settings.batch_in_flight, settings.batch_request_timeout_s)
        recommendation = RecommendationService(
            self._started_components,
            self._metrics,
            settings.request_timeout_s,
            options.shares,
            options.candidates,
            batches,
        )
        gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(recommendation, server)
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(ReleaseService(self._started_components), server)
        rules_pb2_grpc.add_RuleServiceServicer_to_server(RuleService(self._started_components), server)

    async def start(self) -> None:
        """Open the profile store and the channels, and retrieve the popular items once.

        Raises:
            BadProfileStore: The profile store cannot be used.
            BadPseudonymKey: The key of its pseudonyms cannot be used.
            BadImpressionsLog: The folder of the log of impressions cannot be used.
            BadExperiments: The file of experiments cannot be used.
        """
        settings, profiles = self._settings, await self._open_profiles()
        impressions = await self._open_impressions()
        retrieval_channels = await self._open_channels(settings.retrieval_target)
        ranking_channels = await self._open_channels(settings.ranking_target)
        retrieval_replicas = self._replicas("retrieval", retrieval_channels, RetrievalServiceStub)
        retrieval, catalogue = GrpcRetrieval(retrieval_replicas), CatalogueClient(retrieval_replicas)
        ranking = await self._with_shadow(GrpcRanking(self._replicas("ranking", ranking_channels, RankingServiceStub)))
        popular = PopularItems(retrieval, settings.popular_items, settings.popular_refresh_s)
        rules = RuleBook(profiles, encode_rules, decode_rules)
        answers = self._answer_cache(profiles, rules)

        def use_new_release() -> None:
            popular.request_refresh()
            if answers is not None:
                answers.clear()

        releases = ReleaseCoordinator(
            ReleaseClient("retrieval", list(retrieval_channels.values()), settings.activation_timeout_s),
            ReleaseClient("ranking", list(ranking_channels.values()), settings.activation_timeout_s),
            use_new_release,
        )
        recommender = Recommender(profiles, retrieval, ranking, popular, settings.recommender_options(), rules)
        self._metrics.watch_limit(recommender.concurrency_limit)
        experiments = await self._experiments(recommender, profiles, (retrieval, ranking), popular, rules, answers)
        related_items = RelatedItemFinder(retrieval, rules)
        self._components = Components(
            profiles,
            recommender,
            releases,
            related_items,
            catalogue,
            experiments,
            rules,
            retrieval,
            impressions,
            answers,
        )
        await rules.refresh()
        self._run_in_background(rules.follow(settings.rules_poll_s))
        self._metrics.watch_rules(rules)
        await popular.refresh()
        self._run_in_background(popular.refresh_periodically())
        if settings.release_sync_interval_s:
            self._run_in_background(align_releases(releases, settings.release_sync_interval_s))

    def _answer_cache(self, profiles: ProfileStore, rules: RuleBook) -> AnswerCache | None:
        options = self._settings.answer_cache_options(self._settings.recommender_options())
        if options is None:
            return None
        answers = AnswerCache(profiles, rules, options, self._metrics.count_reuse)
        self._metrics.watch_answers(answers)
        return answers

    async def _with_shadow(self, ranking: RankingBackend) -> RankingBackend:
        target = self._settings.shadow_ranking_target
        if not target:
            return ranking
        channels = await self._open_channels(target)
        shadow = GrpcRanking(self._replicas(SHADOW, channels, RankingServiceStub))
        shadowed = ShadowRanking(ranking, shadow, self._settings.shadow_share)
        self._metrics.watch_shadow(shadowed)
        self._run_in_background(shadowed.call_shadow())
        return shadowed

    async def _experiments(
        self,
        recommender: Recommender,
        profiles: ProfileStore,
        stages: tuple[RetrievalBackend, RankingBackend],
        popular: PopularItems,
        rules: RuleBook,
        answers: AnswerCache | None,
    ) -> Experiments:
        """Read the experiments, and connect variants to services of their own."""
        file = self._settings.experiments
        if file is None:
            return Experiments(recommender, answers=answers)
        found = await asyncio.to_thread(read_experiments, file.expanduser())
        check_addresses(found, self._settings)
        recommenders = {}
        for experiment, variant in ((each, variant) for each in found for variant in each.variants):
            retrieval, ranking = stages
            if variant.retrieval_target is not None:
                channels = await self._open_channels(variant.retrieval_target)
                retrieval = GrpcRetrieval(self._replicas(VARIANT_RETRIEVAL, channels, RetrievalServiceStub))
            if variant.ranking_target is not None:
                channels = await self._open_channels(variant.ranking_target)
                ranking = GrpcRanking(self._replicas(VARIANT_RANKING, channels, RankingServiceStub))
            if (retrieval, ranking) != stages:
                options = self._settings.recommender_options()
                of_variant = Recommender(profiles, retrieval, ranking, popular, options, rules)
                recommenders[experiment.name, variant.name] = of_variant
        experiments = Experiments(recommender, found, recommenders, answers)
        self._metrics.watch_experiments(experiments)
        return experiments

    async def stop(self) -> None:
        """Close everything, in reverse order."""
        self._components = None
        await self._resources.aclose()

    async def _open_channels(self, target: str) -> Mapping[str, grpc.aio.Channel]:
        """Open a channel to each replica of a service; returns them by address."""
        security = self._settings.backend_security()
        return {
            address: await self._resources.enter_async_context(open_channel(address, security))
            for address in split_addresses(target)
        }

    def _replicas(
        self, service: str, channels: Mapping[str, grpc.aio.Channel], stub: Callable[[grpc.aio.Channel], Any]
    ) -> ReplicaSet:
        """Return the replicas of a service, whose breakers are exported as metrics and in the server's health."""

        def report() -> None:
            if service not in FOR_COMPARISON:  # the gateway serves without them
                self.dependencies.set_answers(service, answers=replicas.answers)

        settings = self._settings
        replicas = ReplicaSet(
            service,
            [
                Replica(service, address, channel, stub, settings.breaker_options(), report)
                for address, channel in channels.items()
            ],
            settings.retry_share,
            settings.hedge_quantile,
        )
        self._resources.push_async_callback(replicas.close)
        self._metrics.watch_replicas(replicas)
        return replicas

    async def _open_profiles(self) -> ProfileStore:
        given = self._settings.pseudonym_key_file
        try:
            key_file = None if given is None else given.expanduser()
            if key_file is not None and is_redis(self._settings.profiles):
                profiles: ProfileStore = await self._open_redis(key_file)
            else:
                file, kinds = self._settings.profiles_file(), self._settings.history_kinds()
                profiles = await asyncio.to_thread(SqliteProfileStore, file, kinds, key_file)
        except RuntimeError as error:  # neither HOME nor an entry of this user
            raise BadProfileStore(f"{self._settings.profiles}: {error} Name a file with --profiles") from error
        self._resources.push_async_callback(profiles.close)
        if self._settings.profile_retention_days:
            self._run_in_background(erase_old_events(profiles, self._settings.profile_retention_days * _DAY_S))
        return profiles

    async def _open_impressions(self) -> ImpressionLog | None:
        folder = self._settings.impressions_log
        if folder is None:
            return None
        pseudonyms = await asyncio.to_thread(read_key, self._settings.key_file())
        log = await asyncio.to_thread(ImpressionLog, folder.expanduser(), pseudonyms, self._settings.log_limits())
        self._resources.push_async_callback(log.close)
        self._metrics.watch_impressions(log)
        return log

    async def _open_redis(self, key_file: Path) -> GuardedProfiles:
        """Open the profiles in Redis; while it does not answer, the gateway serves without profiles."""
        address = RedisAddress.parse(self._settings.profiles)
        store = RedisProfileStore(address, key_file, self._settings.history_kinds())

        def report(answers: bool) -> None:
            self.dependencies.set_answers(GuardedProfiles.service, answers=answers)

        profiles = GuardedProfiles(store, str(address), self._settings.breaker_options(), report)
        self._metrics.watch_profiles(profiles)
        try:
            await store.open()
        except ProfileStoreUnavailable as error:
            _log.warning("the gateway starts without profiles", reason=str(error))
        except BaseException:
            await store.close()
            raise
        return profiles

    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        self._resources.push_async_callback(_cancel, asyncio.create_task(work))

    def _started_components(self) -> Components:
        if self._components is None:
            raise NotReady("the gateway is starting; call again when its health check reports SERVING")
        return self._components


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
