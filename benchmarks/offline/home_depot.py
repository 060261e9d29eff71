"""Re-ranking judged search results of Home Depot: the second stage compared with BM25 and encoder, test queries.

A release is built from the training queries by the recipe `searches`. A ranking service ranks the judged items of every
test query over gRPC. It gets the cosine of the fine-tuned encoder as the first stage would send it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import bm25s
import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.retrieval.v1.retrieval_pb2 import SourceScore

from benchmarks.data.home_depot import HomeDepot
from benchmarks.data.home_depot_model import CACHE, MODELS
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.harness.servers import ranking_service
from common.arrays import Float32Array
from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import Release
from common.server.channel import open_channel
from pipeline.build.builder import build
from pipeline.build.search.search_examples import SEMANTIC, held_out_cosines, judged_cosines
from pipeline.build.search.search_models import SearchModels
from pipeline.learning.examples.fusion import calibration_error
from pipeline.learning.examples.judged_queries import TEST, JudgedQuery, judged_queries
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.measurement.metrics.reranking import ALL_PAIRS, PER_QUERY, JudgedLists, RerankingResult, compare_scores
from pipeline.progress import ProgressReport, ProgressStep
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEARCHES
from pipeline.release.models.base_model import resolve_base_model
from services.retrieval.encoding.text_encoder import OnnxTextEncoder

STORE: Final = Path("releases/home-depot")
_QUICK_QUERIES: Final = 150
_SECOND_STAGE: Final = "second stage"
# The claim: the second stage is better than each of these, in both measures.
_BASELINES: Final = ("BM25", "encoder, zero-shot", "encoder, fine-tuned")
_CLAIMED: Final = ("ndcg@10", ALL_PAIRS)
_MEASURES: Final = (ALL_PAIRS, *PER_QUERY)
_MIN_SPEARMAN: Final = 0.56
_MAX_CALIBRATION_ERROR: Final = 0.02
_TIMEOUT_S: Final = 60.0


def run(quick: bool, console: Console) -> Result:
    """Build or reuse the release and rank every test query's judged items; quick ranks fewer."""
    data, report = HomeDepot.find(), ProgressReport(console)
    settings = BuildSettings.from_recipe(SEARCHES.name)
    release = build(data.dataset, STORE, settings, report, models_dir=MODELS)
    catalogue = Catalogue.open(release.file(layout.CATALOGUE))
    queries = test_queries(data, catalogue)[: _QUICK_QUERIES if quick else None]
    systems = _scores(release, catalogue, queries, settings, report)
    lists = JudgedLists.from_queries([one.grades for one in queries])
    with report.step("Comparing on resampled queries"):
        found = compare_scores(lists, systems, settings.seed)
    error = calibration_error(systems[_SECOND_STAGE].astype(np.float64), lists.grades.astype(np.float32))
    figures: dict[str, Any] = {
        "queries": len(queries),
        "pairs": len(lists.grades),
        "test": {name: asdict(one) for name, one in found.items()},
        "expected calibration error": error,
        "validation": release.manifest.metrics["validation"],
        "build_seconds": release.manifest.metrics["build_seconds"],
    }
    return Result(figures, _thresholds(found[_SECOND_STAGE], error), [_table(found)])


def test_queries(data: HomeDepot, catalogue: Catalogue) -> list[JudgedQuery]:
    """Return the test queries."""
    judgements = data.dataset.judgements
    return [] if judgements is None else judged_queries(judgements, catalogue, TEST)


def bm25_scores(catalogue: Catalogue, queries: Sequence[JudgedQuery]) -> Float32Array:
    """Return BM25 (Lucene's variant) of every pair, with statistics of all titles and without English stop words."""
    retriever = bm25s.BM25(method="lucene")
    texts = catalogue.table["text"].to_pylist()
    retriever.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    scores = []
    for one in queries:
        words = bm25s.tokenize([one.query], stopwords="en", return_ids=False, show_progress=False)[0]
        scores.append(retriever.get_scores(words)[one.rows] if words else np.zeros(len(one.rows), np.float32))
    return np.concatenate(scores).astype(np.float32)


def _scores(
    release: Release,
    catalogue: Catalogue,
    queries: Sequence[JudgedQuery],
    settings: BuildSettings,
    report: ProgressReport,
) -> dict[str, Float32Array]:
    """Return each system's scores of every pair, the claim's baselines first."""
    prefixes = (settings.query_prefix, settings.item_prefix)
    with report.step("Scoring by BM25"):
        bm25 = bm25_scores(catalogue, queries)
    with report.step("Scoring by the encoder, zero-shot and fine-tuned"):
        zero_shot = held_out_cosines(_zero_shot(settings, catalogue, report), queries, catalogue, prefixes)
        tuned = judged_cosines(OnnxTextEncoder.load(release, SessionOptions()), queries, catalogue, prefixes)
    with report.step("Scoring by the ranking service", len(queries)) as step:
        logits, probabilities = asyncio.run(rank_all(release, catalogue, queries, tuned, step))
    named = dict(zip(_BASELINES, (bm25, zero_shot, tuned), strict=True))
    return named | {"cross-encoder alone": logits, _SECOND_STAGE: probabilities}


def _zero_shot(settings: BuildSettings, catalogue: Catalogue, report: ProgressReport) -> Path:
    base = resolve_base_model(settings.base_model)
    return SearchModels(base, settings, catalogue, ModelCache(MODELS, base.path), report).base_encoder()


async def rank_all(
    release: Release, catalogue: Catalogue, queries: Sequence[JudgedQuery], cosines: Float32Array, step: ProgressStep
) -> tuple[Float32Array, Float32Array]:
    """Rank all queries by a ranking service; returns the logits and the probabilities of every pair."""
    ends = np.cumsum([len(one.rows) for one in queries])[:-1]
    logits, probabilities = [], []
    with ranking_service(release.path, CACHE / "offline-home-depot.log") as served:
        async with open_channel(served.target) as channel:
            stub: Any = ranking_pb2_grpc.RankingServiceStub(channel)
            for one, cosine in zip(queries, np.split(cosines, ends), strict=True):
                answer = await stub.Rank(_request(one, catalogue, cosine), timeout=_TIMEOUT_S)
                logits.append([item.cross_encoder_logit for item in answer.items])
                probabilities.append([item.probability for item in answer.items])
                step.advance()
    return np.concatenate(logits).astype(np.float32), np.concatenate(probabilities).astype(np.float32)


def _request(one: JudgedQuery, catalogue: Catalogue, cosine: Float32Array) -> ranking_pb2.RankRequest:
    candidates = [
        ranking_pb2.RankCandidate(
            item_id=catalogue.item_ids[row], sources=[SourceScore(source=SEMANTIC, score=float(score))]
        )
        for row, score in zip(one.rows.tolist(), cosine, strict=True)
    ]
    user = ranking_pb2.UserContext(query=one.query)
    return ranking_pb2.RankRequest(user=user, candidates=candidates, cross_encoder_depth=len(candidates))


def _thresholds(second: RerankingResult, error: float) -> list[Threshold]:
    thresholds = [at_least("test Spearman over all pairs", _MIN_SPEARMAN, second.means[ALL_PAIRS].mean)]
    for measure in _CLAIMED:
        for baseline in _BASELINES:
            what = f"{measure} of the second stage over {baseline}: lower end of the paired 95 % interval"
            low = second.over[baseline][measure].low
            thresholds.append(Threshold(what, 0.0, low, low > 0))
    return [*thresholds, at_most("expected calibration error", _MAX_CALIBRATION_ERROR, error)]


def _table(found: dict[str, RerankingResult]) -> Table:
    table = Table("", *_MEASURES, "lift", title="Home Depot, test queries, judged items re-ranked")
    for name, one in found.items():
        cells = [f"{mean.mean:.4f} [{mean.low:.3f}, {mean.high:.3f}]" for mean in map(one.means.__getitem__, _MEASURES)]
        table.add_row(name, *cells, f"{one.lift:+.4f}")
    return table
