"""The cross-encoder in each precision on Home Depot's test part: what both `ranking-parity` and `compression` ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from benchmarks.home_depot.data import HomeDepot, PairMaker
from benchmarks.home_depot.model import TrainedModel
from benchmarks.home_depot.release import model_file
from common.onnx_session import OnnxModel, SessionOptions
from pipeline.build_settings import Precision
from pipeline.compress import batch_dependence, ndcg
from pipeline.metrics import Interval, paired_bootstrap
from pipeline.progress import ProgressReport
from pipeline.train.pair_examples import score_pairs
from pipeline.train.ranking_lists import RankingExample
from services.ranking.cross_encoder import CrossEncoder

PRECISIONS: Final[Sequence[Precision]] = ("fp32", "int8")
_QUICK_QUERIES: Final = 150


@dataclass(frozen=True)
class Compared:
    """One precision's scores of the test part.

    Attributes:
        file: The model.
        logits: By query.
        ndcg: NDCG@10 by query that has something relevant.
        spearman: Rank correlation of logit and relevance over all pairs.
        batch_dependence: Largest difference in probability between a pair alone and among others.
    """

    file: Path
    logits: Sequence[npt.NDArray[np.float32]]
    ndcg: npt.NDArray[np.float64]
    spearman: float
    batch_dependence: float


def load(file: Path) -> CrossEncoder:
    """Load a model on as many threads as there are cores."""
    return CrossEncoder(OnnxModel(file, SessionOptions()))


def judged_examples(data: HomeDepot, model: TrainedModel, *, quick: bool) -> list[RankingExample]:
    """Return the judged queries of the test part as pairs."""
    maker = PairMaker(data, model.tokenizer)
    judged = data.judged("test")[: _QUICK_QUERIES if quick else None]
    return [RankingExample(maker.pairs(one.query, one.item_ids), one.relevance) for one in judged]


def compare_precisions(
    data: HomeDepot, model: TrainedModel, examples: Sequence[RankingExample], report: ProgressReport
) -> dict[Precision, Compared]:
    """Score the examples in each precision."""
    files: Mapping[Precision, Path] = {name: model_file(data, model, name) for name in PRECISIONS}
    return {name: _score(file, name, examples, report) for name, file in files.items()}


def lost(compared: Mapping[Precision, Compared]) -> tuple[Interval, float]:
    """Return what int8 loses: of NDCG@10 as a share of float32's with its paired 95 % interval, and of Spearman."""
    full, small = compared["fp32"], compared["int8"]
    whole = float(full.ndcg.mean())
    share = Interval(*(value / whole for value in paired_bootstrap(full.ndcg, small.ndcg, seed=0)))
    return share, full.spearman - small.spearman


def _score(file: Path, name: str, examples: Sequence[RankingExample], report: ProgressReport) -> Compared:
    model, pairs = load(file), [example.pairs for example in examples]
    with report.step(f"Reading the test part in {name}", sum(map(len, pairs))) as step:
        logits = score_pairs(model, pairs, step)
    relevance = np.concatenate([example.labels for example in examples])
    spearman = float(spearmanr(np.concatenate(logits), relevance).statistic)
    return Compared(file, logits, ndcg(examples, logits), spearman, batch_dependence(model, pairs))
