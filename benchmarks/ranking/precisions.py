"""Variants of the cross-encoder, scored on Home Depot's test part, for `ranking-parity` and `compression`."""

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
class ModelVariant:
    """A variant of the cross-encoder.

    Attributes:
        model: The weights.
        precision: The precision of the served model.
        options: Options of its session.
    """

    model: TrainedModel
    precision: AnyPrecision = "fp32"
    options: SessionOptions = SessionOptions()  # noqa: RUF009 - it is frozen


@dataclass(frozen=True)
class VariantScores:
    """The scores of one variant on the test part.

    Attributes:
        variant: The variant.
        file: The model file.
        examples: The test part in its tokens.
        logits: Logits by query.
        ndcg: NDCG@10 of each query with a relevant item.
        spearman: Rank correlation of logit and relevance over all pairs.
        batch_dependence: Largest difference in probability of a pair alone and in a batch.
    """

    variant: ModelVariant
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


def precisions(model: TrainedModel) -> dict[str, ModelVariant]:
    """Return the precisions that a release may have."""
    return {"fp32": ModelVariant(model), "int8": ModelVariant(model, "int8")}


def score_variants(
    data: HomeDepot, variants: Mapping[str, ModelVariant], report: ProgressReport, *, quick: bool
) -> dict[str, VariantScores]:
    """Score the test part with each variant; quick takes 150 queries."""
    return {name: _score(data, variant, name, report, quick=quick) for name, variant in variants.items()}


def ndcg_loss_share(full: VariantScores, small: VariantScores) -> Interval:
    """Return the share of NDCG@10 that a variant loses against another one, with its paired 95 % interval."""
    whole = float(full.ndcg.mean())
    return Interval(*(value / whole for value in paired_bootstrap(full.ndcg, small.ndcg, seed=0)))


def _score(data: HomeDepot, variant: ModelVariant, name: str, report: ProgressReport, *, quick: bool) -> VariantScores:
    with report.step(f"Preparing {name}"):
        file, examples = (
            model_file(data, variant.model, variant.precision),
            judged_examples(data, variant.model, quick=quick),
        )
        model, pairs = load(file, variant.options), [example.pairs for example in examples]
    with report.step(f"Scoring the test part in {name}", sum(map(len, pairs))) as step:
        logits = score_pairs(model, pairs, step)
    correlation, dependence = spearman(examples, logits), batch_dependence(model, pairs)
    return VariantScores(variant, file, examples, logits, ndcg(examples, logits), correlation, dependence)
