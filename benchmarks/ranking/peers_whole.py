"""The whole path compared with what a team builds in a day: the same items, models and 100 candidates, in turns.

A release of Home Depot by the recipe `searches` is served by the three servers with their defaults, without caches of
queries and scores. The peers have the same encoder and cross-encoder, read all 100 candidates, and run in a virtual
environment of their own. Each answers with ten items of the whole catalogue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.data.home_depot import HomeDepot
from benchmarks.data.home_depot_model import CACHE, MODELS
from benchmarks.harness.ranking_load import LoadResult
from benchmarks.harness.record import Result, Threshold, at_least
from benchmarks.offline.home_depot import STORE
from benchmarks.peers.whole_path import ENGINES, SearchServer, Shop, search_server
from common.arrays import Float64Array
from common.gc_freeze import freeze_heap
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import Release
from common.server import event_loop
from common.server.channel import open_channel
from pipeline.build.builder import build
from pipeline.build.search.search_models import SearchModels
from pipeline.data.dataset.dataset import Dataset
from pipeline.learning.examples.judged_queries import TEST, JudgedQuery, judged_queries, training_queries
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.local_services import local_services
from pipeline.measurement.metrics.ranking_metrics import evaluate, paired_bootstrap
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEARCHES
from pipeline.release.config.training_settings import CrossEncoderTraining, EncoderTraining, LateTraining
from pipeline.release.models.base_model import resolve_base_model

_OURS: Final = "shortlist"
_CALLERS: Final = (1, 8)
_MIN_TIMES: Final = {1: 20.0, 8: 30.0}
_QUALITY_QUERIES: Final = 300
_LIMIT: Final = 10
_NDCG: Final = "ndcg@10"
_TIMEOUT_S: Final = 60.0
_UNCACHED: Final = {
    "SHORTLIST_RETRIEVAL_QUERY_CACHE_SIZE": "0",
    "SHORTLIST_RANKING_SCORE_CACHE_SIZE": "0",
    "SHORTLIST_RANKING_CONTEXT_CACHE_SIZE": "0",
}
_QUICK_ITEMS: Final = 3_000
_QUICK_QUERIES: Final = (250, 40)  # for training, and for the test


def run(quick: bool, console: Console) -> Result:
    """Build or reuse the release and load the servers in turns; quick takes fewer items, trainings and turns."""
    dataset, settings = HomeDepot.find().dataset, BuildSettings.from_recipe(SEARCHES.name)
    if quick:
        dataset, settings = _part_of(dataset), _with_short_training(settings)
    report, store = ProgressReport(console), CACHE / "peers-whole" if quick else STORE
    release = build(dataset, store, settings, report, models_dir=MODELS)
    catalogue = Catalogue.open(release.file(layout.CATALOGUE))
    queries = _measurable(dataset, catalogue)
    shop = _shop(release, catalogue, dataset, settings, report)
    rounds, seconds = (1, 3.0) if quick else (5, 10.0)
    with ExitStack() as stack:
        services = stack.enter_context(local_services(release.path, CACHE / "peers-whole-services", _UNCACHED))
        target = services.targets["gateway"]
        peers = {
            engine: stack.enter_context(search_server(engine, shop, CACHE / "peers-whole-data", console))
            for engine in ENGINES
        }
        with report.step("Asking every server the same queries"):
            quality = _quality(target, peers, queries[: 20 if quick else _QUALITY_QUERIES], catalogue)
        with report.step("Loading the servers in turns"):
            turns = [_turn(target, peers, [one.query for one in queries], seconds) for _ in range(rounds)]
    figures = {str(callers): _summary([turn[callers] for turn in turns]) for callers in _CALLERS} | {
        "quality": quality,
        "items": len(catalogue),
        "release": release.id,
    }
    return Result(figures, _thresholds(figures), [_table(figures)])


def _with_short_training(settings: BuildSettings) -> BuildSettings:
    return replace(
        settings,
        encoder=EncoderTraining(epochs=0),
        cross_encoder=CrossEncoderTraining(layers=3, epochs=1),
        late=LateTraining(layers=3, epochs=1),
    )


def _part_of(dataset: Dataset) -> Dataset:
    """Return some judged queries, the items judged for them, and further items."""
    if dataset.judgements is None:
        return dataset
    chosen = []
    for name, count in zip(("train", "test"), _QUICK_QUERIES, strict=True):
        part = dataset.judgements.filter(dataset.judgements["split"] == name)
        names = part["query"].unique().sort()[:count]
        chosen.append(part.filter(part["query"].is_in(names.implode())))
    judgements = chosen[0].vstack(chosen[1])
    judged = dataset.items["item_id"].is_in(judgements["item_id"].unique().implode())
    items = dataset.items.filter(judged).vstack(dataset.items.filter(~judged)[:_QUICK_ITEMS])[:_QUICK_ITEMS]
    return Dataset(items, dataset.events, judgements, dataset.report)


def _measurable(dataset: Dataset, catalogue: Catalogue) -> list[JudgedQuery]:
    """Return the test queries with a relevant item, in random order."""
    known = [] if dataset.judgements is None else judged_queries(dataset.judgements, catalogue, TEST)
    judged = [one for one in known if one.grades.any()]
    return [judged[place] for place in np.random.default_rng(11).permutation(len(judged))]


def _shop(
    release: Release, catalogue: Catalogue, dataset: Dataset, settings: BuildSettings, report: ProgressReport
) -> Shop:
    """Return what the peers serve: the release's items and vectors, and the models that it was made with."""
    base = resolve_base_model(settings.base_model)
    models = SearchModels(base, settings, catalogue, ModelCache(MODELS, base.path), report)
    queries = training_queries(dataset.judgements, catalogue)
    vectors = np.load(release.file(layout.VECTORS))[np.load(release.file(layout.VECTOR_OF_ITEM))]
    titles = catalogue.table["title"].to_pylist()
    return Shop(catalogue.item_ids, titles, vectors, models.encoder(queries), models.cross_encoder(queries))


def _quality(
    target: str, peers: Mapping[str, SearchServer], queries: Sequence[JudgedQuery], catalogue: Catalogue
) -> dict[str, Any]:
    """Return each server's NDCG@10 by the judged items, and ours less the peers' with its paired interval."""
    ranked = {_OURS: event_loop.run(_ask(target, [one.query for one in queries]))}
    ranked |= {engine: [peer.search(one.query) for one in queries] for engine, peer in peers.items()}
    relevance = {
        str(number): {catalogue.item_ids[row]: float(grade) for row, grade in zip(one.rows, one.grades, strict=True)}
        for number, one in enumerate(queries)
    }
    ndcg: dict[str, Float64Array] = {
        name: evaluate({str(number): ids for number, ids in enumerate(lists)}, relevance, [_NDCG])[_NDCG]
        for name, lists in ranked.items()
    }
    means = {name: float(scores.mean()) for name, scores in ndcg.items()}
    gains = {engine: paired_bootstrap(ndcg[_OURS], ndcg[engine], seed=0)._asdict() for engine in peers}
    return {"queries": len(queries), _NDCG: means, f"{_NDCG} over": gains}


async def _ask(target: str, queries: Sequence[str]) -> list[list[str]]:
    async with open_channel(target) as channel:
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        return [[item.item_id for item in (await _recommend(stub, query)).items] for query in queries]


async def _recommend(stub: Any, query: str) -> gateway_pb2.RecommendResponse:
    """Return an answer; items of one text have a place each, as the peers give them."""
    policy = gateway_pb2.Policy(keep_duplicates=True)
    request = gateway_pb2.RecommendRequest(query=query, limit=_LIMIT, policy=policy)
    answer: gateway_pb2.RecommendResponse = await stub.Recommend(request, timeout=_TIMEOUT_S)
    if answer.degradations:
        raise RuntimeError(f"an answer is degraded: {answer.degradations}")
    return answer


def _turn(
    target: str, peers: Mapping[str, SearchServer], queries: Sequence[str], seconds: float
) -> dict[int, dict[str, LoadResult]]:
    """Load each server by each number of callers."""
    return {
        callers: {_OURS: event_loop.run(_load(target, queries, callers, seconds))}
        | {engine: peer.load(queries, callers, seconds) for engine, peer in peers.items()}
        for callers in _CALLERS
    }


async def _load(target: str, queries: Sequence[str], callers: int, seconds: float) -> LoadResult:
    freeze_heap()
    result, asked = LoadResult(), cycle(queries)
    async with open_channel(target) as channel:
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        await channel.channel_ready()
        began = time.perf_counter()

        async def caller() -> None:
            while time.perf_counter() - began < seconds:
                sent = time.perf_counter()
                answer = await _recommend(stub, next(asked))
                result.latencies_ms.append((time.perf_counter() - sent) * 1e3)
                result.expired += any(use.left_out_items for use in answer.tiers)

        await asyncio.gather(*(caller() for _ in range(callers)))
        result.seconds = time.perf_counter() - began
    return result


def _summary(turns: Sequence[dict[str, LoadResult]]) -> dict[str, dict[str, float]]:
    def median(name: str, figure: Any) -> float:
        return float(np.median([figure(turn[name]) for turn in turns]))

    summary = {
        name: {
            "answers/s": median(name, _answers_per_s),
            "p50 ms": median(name, lambda found: found.latency_ms(0.5)),
            "p99 ms": median(name, lambda found: found.latency_ms(0.99)),
        }
        for name in turns[0]
    }
    for engine in ENGINES:
        times = [_answers_per_s(turn[_OURS]) / _answers_per_s(turn[engine]) for turn in turns]
        summary[_OURS][f"times {engine}"] = float(np.median(times))
    left_out = sum(turn[_OURS].expired for turn in turns) / sum(len(turn[_OURS].latencies_ms) for turn in turns)
    summary[_OURS]["share of answers that left candidates unread"] = left_out
    return summary


def _answers_per_s(found: LoadResult) -> float:
    return len(found.latencies_ms) / found.seconds


def _thresholds(figures: Mapping[str, Any]) -> list[Threshold]:
    speed = [
        at_least(
            f"answers/s over {engine}'s, callers: {callers}", least, figures[str(callers)][_OURS][f"times {engine}"]
        )
        for callers, least in _MIN_TIMES.items()
        for engine in ENGINES
    ]
    gains = figures["quality"][f"{_NDCG} over"]
    return speed + [at_least(f"NDCG@10 less {engine}'s", 0.0, gains[engine]["mean"]) for engine in ENGINES]


def _table(figures: Mapping[str, Any]) -> Table:
    table = Table("server", "callers", "answers/s", "p50 ms", "p99 ms", "times hnswlib", "NDCG@10")
    for callers in map(str, _CALLERS):
        base = figures[callers]["hnswlib"]["answers/s"]
        for name, one in figures[callers].items():
            latency = (f"{one['p50 ms']:,.0f}", f"{one['p99 ms']:,.0f}")
            times = one.get("times hnswlib", one["answers/s"] / base)
            ndcg = figures["quality"][_NDCG][name]
            table.add_row(name, callers, f"{one['answers/s']:.1f}", *latency, f"{times:.1f}", f"{ndcg:.4f}")
    return table
