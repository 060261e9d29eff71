"""Forms of the cross-encoder on Home Depot's test part: what both `ranking-parity` and `compression` ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.data.home_depot import HomeDepot, PairMaker
from benchmarks.data.home_depot_model import TrainedModel
from benchmarks.data.home_depot_release import AnyPrecision, model_file
from benchmarks.harness.rank_correlation import spearman
from common.onnx_session import OnnxModel, SessionOptions
from pipeline.build.compression.gate import batch_dependence, ndcg
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.examples.text_pairs import score_pairs
from pipeline.measurement.metrics.ranking_metrics import Interval, paired_bootstrap
from pipeline.progress import ProgressReport
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokens import TokenPairs

_QUICK_QUERIES: Final = 150


@dataclass(frozen=True)
class Form:
    """A form of the cross-encoder.

    Attributes:
        model: The weights.
        precision: What they are rounded to.
        options: How it is run.
    """

    model: TrainedModel
    precision: AnyPrecision = "fp32"
    options: SessionOptions = SessionOptions()  # noqa: RUF009 - it is frozen


@dataclass(frozen=True)
class Compared:
    """One form's scores of the test part.

    Attributes:
        form: Which.
        file: The model.
        examples: The test part in its tokens.
        logits: By query.
        ndcg: NDCG@10 by query that has something relevant.
        spearman: Rank correlation of logit and relevance over all pairs.
        batch_dependence: Largest difference in probability between a pair alone and among others.
    """

    form: Form
    file: Path
    examples: Sequence[RankingExample]
    logits: Sequence[npt.NDArray[np.float32]]
    ndcg: npt.NDArray[np.float64]
    spearman: float
    batch_dependence: float

    @property
    def pairs(self) -> list[TokenPairs]:
        """The pairs of each query."""
        return [example.pairs for example in self.examples]


def load(file: Path, options: SessionOptions | None = None) -> CrossEncoder:
    """Load a model, by default on as many threads as there are cores."""
    return CrossEncoder(OnnxModel(file, options or SessionOptions()))


def judged_examples(data: HomeDepot, model: TrainedModel, *, quick: bool) -> list[RankingExample]:
    """Return the judged queries of the test part as pairs."""
    maker = PairMaker(data, model.tokenizer)
    judged = data.judged("test")[: _QUICK_QUERIES if quick else None]
    return [RankingExample(maker.pairs(one.query, one.item_ids), one.relevance) for one in judged]


def precisions(model: TrainedModel) -> dict[str, Form]:
    """Return the precisions that releases have."""
    return {"fp32": Form(model), "int8": Form(model, "int8")}


def compare_forms(
    data: HomeDepot, forms: Mapping[str, Form], report: ProgressReport, *, quick: bool
) -> dict[str, Compared]:
    """Score the test part, or some of it, by each form."""
    return {name: _score(data, form, name, report, quick=quick) for name, form in forms.items()}


def ndcg_lost(full: Compared, small: Compared) -> Interval:
    """Return what a form loses of another's NDCG@10, as a share of it, with its paired 95 % interval."""
    whole = float(full.ndcg.mean())
    return Interval(*(value / whole for value in paired_bootstrap(full.ndcg, small.ndcg, seed=0)))


def _score(data: HomeDepot, form: Form, name: str, report: ProgressReport, *, quick: bool) -> Compared:
    with report.step(f"Preparing {name}"):
        file, examples = model_file(data, form.model, form.precision), judged_examples(data, form.model, quick=quick)
        model, pairs = load(file, form.options), [example.pairs for example in examples]
    with report.step(f"Reading the test part in {name}", sum(map(len, pairs))) as step:
        logits = score_pairs(model, pairs, step)
    correlation, alone = spearman(examples, logits), batch_dependence(model, pairs)
    return Compared(form, file, examples, logits, ndcg(examples, logits), correlation, alone)
