"""Lexical search of Home Depot's titles: recall with and without repair of spelling, and with a typing error each.

Parameters were chosen on the training queries, for which the first table shows what each of them brings. The second
table is of the test queries: items judged 1.5 of 2 or more should be among the first 100 of all titles.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import bm25s
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.data.home_depot import HomeDepot, QueryJudgements
from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.language.typing_errors import with_typing_error
from common.arrays import Float64Array
from common.text import normalised, query_words, title_words
from pipeline.measurement.metrics.ranking_metrics import bootstrap_interval, paired_bootstrap
from pipeline.release.artifacts.title_bm25 import write_title_words
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.export.cached_export import loaded_encoder
from pipeline.release.models.base_model import resolve_base_model
from services.retrieval.catalogue.delta import empty_delta
from services.retrieval.catalogue.stemming import query_stems, title_stems
from services.retrieval.sources.bm25 import TitleBm25
from services.retrieval.spelling.query_repair import QueryRepair

_K: Final = 100
_MIN_RELEVANCE: Final = 0.75  # of 1, 1.5 of the data's 2
_QUICK_QUERIES: Final = 300
_TUNING_QUERIES: Final = 2_500
_SEED: Final = 22
# What one typing error may cost.
_MAX_LOSS: Final = 0.06
_PARAMETERS: Final = ((1.2, 0.75), (0.2, 0.75), (0.4, 0.75), (0.7, 0.75), (0.4, 0.5), (0.4, 0.9))


@dataclass(frozen=True)
class _Query:
    """A query, and the rows of the items that should be found."""

    text: str
    relevant: frozenset[int]


def run(quick: bool, console: Console) -> Result:
    """Measure the test queries, and the parameters on training queries; quick takes fewer of both."""
    data = HomeDepot.find()
    titles = data.items["title"].to_list()
    queries = {split: _queries(data, split) for split in ("train", "test")}
    test = queries["test"][: _QUICK_QUERIES if quick else None]
    shuffled = np.random.default_rng(_SEED).permutation(len(queries["train"]))
    tuning = [queries["train"][at] for at in shuffled[: _QUICK_QUERIES if quick else _TUNING_QUERIES]]
    with tempfile.TemporaryDirectory() as folder:
        index = _index(titles, Path(folder))
        with console.status("Searching"):
            tuned, table = _tuned(titles, tuning)
            figures = _measured(index, test)
    figures |= {"tuning on training queries": tuned, "queries": len(test), "titles": len(titles)}
    thresholds = [
        at_least("recall@100 gained by repair: lower end of the paired 95 % interval", 0.0, figures["gain"]["low"]),
        at_most("share of recall@100 that one typing error costs", _MAX_LOSS, figures["loss by a typing error"]),
    ]
    return Result(figures, thresholds, [table, _table(figures)])


def _queries(data: HomeDepot, split: str) -> list[_Query]:
    row_of = {item_id: row for row, item_id in enumerate(data.items["item_id"].to_list())}
    found = [_Query(normalised(one.query), _relevant(one, row_of)) for one in data.judged(split)]
    return [one for one in found if one.relevant]


def _relevant(one: QueryJudgements, row_of: dict[str, int]) -> frozenset[int]:
    chosen = np.flatnonzero(one.relevance >= _MIN_RELEVANCE).tolist()
    return frozenset(row_of[one.item_ids[at]] for at in chosen if one.item_ids[at] in row_of)


def _index(titles: Sequence[str], folder: Path) -> TitleBm25:
    """Return the index of titles as a release has it."""
    write_title_words(SimpleNamespace(table=pa.table({"title": titles, "text": titles})), folder)  # type: ignore[arg-type]
    return TitleBm25.load(SimpleNamespace(file=folder.joinpath), len(titles))  # type: ignore[arg-type]


def _known_words() -> frozenset[str]:
    """Return the words of the default base model, as a release's encoder has them."""
    folder = resolve_base_model(BuildSettings().base_model).path
    return loaded_encoder(folder).words


def _recall(scores: np.ndarray, relevant: frozenset[int]) -> float:
    best = np.argpartition(-scores, _K)[:_K]
    return len(relevant.intersection(best[scores[best] > 0].tolist())) / len(relevant)


def _measured(index: TitleBm25, queries: Sequence[_Query]) -> dict[str, Any]:
    repair, nothing_added = QueryRepair(index, _known_words()), empty_delta(pa.schema([]), 1)
    generator = np.random.default_rng(_SEED)
    typed = [with_typing_error(one.text, generator) for one in queries]
    took_us: dict[str, float] = {}

    def repaired(texts: Sequence[str], name: str) -> list[str]:
        began = time.perf_counter()
        found = [repair.repair(text, nothing_added) for text in texts]
        took_us[name] = (time.perf_counter() - began) / len(texts) * 1e6
        return found

    given = [one.text for one in queries]
    variants = {
        "as typed": given,
        "repaired": repaired(given, "queries as typed"),
        "with a typing error": typed,
        "with a typing error, repaired": repaired(typed, "queries with a typing error"),
    }
    recalls = {
        name: np.array(
            [_recall(index.score_release_items(text), one.relevant) for text, one in zip(texts, queries, strict=True)]
        )
        for name, texts in variants.items()
    }
    changed = np.array([before != after for before, after in zip(given, variants["repaired"], strict=True)])
    right, wrong = recalls["repaired"], recalls["with a typing error, repaired"]
    return {
        "recall@100": {name: bootstrap_interval(found, seed=_SEED)._asdict() for name, found in recalls.items()},
        "gain": paired_bootstrap(right, recalls["as typed"], seed=_SEED)._asdict(),
        "queries changed": int(changed.sum()),
        "gain on changed queries": float((right - recalls["as typed"])[changed].mean()) if changed.any() else 0.0,
        "loss by a typing error": float(1 - wrong.mean() / right.mean()),
        "repair_us": took_us,
    }


def _tuned(titles: Sequence[str], queries: Sequence[_Query]) -> tuple[dict[str, float], Table]:
    """Return recall@100 of training queries by BM25's parameters, and by stems instead of words."""
    found = {f"words, k1 {k1}, b {b}": _bm25_recall(titles, queries, k1, b) for k1, b in _PARAMETERS}
    found["stems, k1 0.4, b 0.75"] = _bm25_recall(titles, queries, 0.4, 0.75, title_stems, query_stems)
    first = next(iter(found.values()))
    table = Table("", "recall@100", "over the first", title=f"{len(queries):,} training queries, not repaired")
    for name, recalls in found.items():
        gain = paired_bootstrap(recalls, first, seed=_SEED)
        table.add_row(name, f"{recalls.mean():.4f}", f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    return {name: float(recalls.mean()) for name, recalls in found.items()}, table


def _bm25_recall(
    titles: Sequence[str],
    queries: Sequence[_Query],
    k1: float,
    b: float,
    split_title: Callable[[str], list[str]] = title_words,
    split_query: Callable[[str], list[str]] = query_words,
) -> Float64Array:
    words = [split_title(title) for title in titles]
    vocabulary = {word: number for number, word in enumerate(sorted({word for title in words for word in title}))}
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    numbers = [[vocabulary[word] for word in title] for title in words]
    index.index((numbers, vocabulary), create_empty_token=False, show_progress=False)
    indptr, items, scores = (np.asarray(index.scores[part]) for part in ("indptr", "indices", "data"))
    recalls = []
    for query in queries:
        total = np.zeros(len(titles), np.float32)
        for word in dict.fromkeys(split_query(query.text)):
            if word in vocabulary:
                part = slice(*indptr[vocabulary[word] : vocabulary[word] + 2])
                total[items[part]] += scores[part]
        recalls.append(_recall(total, query.relevant))
    return np.array(recalls)


def _table(figures: dict[str, Any]) -> Table:
    table = Table("test queries", "recall@100", title="Home Depot, source lexical alone, all titles")
    for name, recall in figures["recall@100"].items():
        table.add_row(name, f"{recall['mean']:.4f} [{recall['low']:.4f}, {recall['high']:.4f}]")
    gain = figures["gain"]
    table.add_row("gained by repair", f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]")
    table.add_row(f"on the {figures['queries changed']} changed", f"{figures['gain on changed queries']:+.4f}")
    for name, took_us in figures["repair_us"].items():
        table.add_row(f"µs a query, {name}", f"{took_us:.0f}")
    return table
