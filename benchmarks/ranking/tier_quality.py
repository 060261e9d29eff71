"""The tiers' orders of Home Depot's test part compared with the cross-encoder's, with paired intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console

from benchmarks.data.home_depot import HomeDepot, PairMaker
from benchmarks.data.home_depot_model import TrainedModel
from benchmarks.data.home_depot_release import model_file
from benchmarks.data.home_depot_tower import TrainedTower
from benchmarks.harness.rank_correlation import Scores, spearman, spearman_difference
from benchmarks.ranking.precisions import judged_examples, load
from common.arrays import Float64Array, TokenIds
from common.onnx_session import OnnxModel, SessionOptions
from common.ragged import TokenRows
from pipeline.build.compression.gate import ndcg
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.examples.text_pairs import score_pairs
from pipeline.measurement.metrics.ranking_metrics import Interval, paired_bootstrap
from pipeline.progress import ProgressReport
from pipeline.release.export.late_interaction import fitted_codec, write_context_tower
from services.ranking.late_interaction.tower import LateInteractionTower, Role, TextVectors
from services.ranking.late_interaction.vector_codec import Bits, VectorCodec
from services.ranking.pairs.pair_tokens import PairTemplate

_RANDOM_ORDERS: Final = 20
CROSS_ENCODER: Final = "cross-encoder on all"


@dataclass(frozen=True)
class Quality:
    """The quality of an order.

    Attributes:
        ndcg: Mean NDCG@10 over queries.
        random_ndcg: Mean NDCG@10 of random orders.
        spearman: Rank correlation of score and relevance over all pairs.
        pair_accuracy: Share of the pairs of unequal relevance that are in order, mean over queries.
        differences: Differences to the cross-encoder with 95 % intervals, by measure.
    """

    ndcg: float
    random_ndcg: float
    spearman: float
    pair_accuracy: float
    differences: Mapping[str, Interval]

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "ndcg@10": self.ndcg,
            "ndcg@10 over random": self.ndcg - self.random_ndcg,
            "spearman": self.spearman,
            "pair accuracy": self.pair_accuracy,
            "less the cross-encoder's": {name: interval._asdict() for name, interval in self.differences.items()},
        }


def compared_tiers(
    data: HomeDepot, model: TrainedModel, tower: TrainedTower, console: Console, *, quick: bool
) -> dict[str, Quality]:
    """Measure the cross-encoder, late interaction in each bit width, and the mean of both; quick takes 150 queries."""
    report = ProgressReport(console)
    examples = judged_examples(data, model, quick=quick)
    with report.step("Scoring the test part with the cross-encoder") as step:
        logits = score_pairs(load(model_file(data, model, "fp32")), [one.pairs for one in examples], step)
    late = _late_scores(data, model, tower, len(examples))
    orders: dict[str, Scores] = {
        CROSS_ENCODER: logits,
        "late interaction, float32": late[32],
        "late interaction, 8 bits": late[8],
        "late interaction, 4 bits": late[4],
        "both, mean": [np.mean(both, axis=0, dtype=np.float32) for both in zip(logits, late[8], strict=True)],
    }
    random_ndcg = _random_ndcg(examples)
    return {name: _quality(examples, scores, logits, random_ndcg) for name, scores in orders.items()}


def _late_scores(data: HomeDepot, model: TrainedModel, tower: TrainedTower, queries: int) -> dict[int, Scores]:
    """Score the judged pairs with vectors of each bit width; 32 is the output of the tower."""
    maker = PairMaker(data, model.tokenizer)
    judged = data.judged("test")[:queries]
    read = LateInteractionTower(OnnxModel(tower.onnx, SessionOptions()), maker.template)
    items = read(TokenRows.from_rows([row for one in judged for row in maker.items(one.item_ids)]), Role.ITEM)
    contexts = _contexts(tower, [maker.context(one.query) for one in judged], maker.template)
    owner = np.repeat(np.arange(len(judged)), [len(one.item_ids) for one in judged])
    cuts = np.cumsum([len(one.item_ids) for one in judged])[:-1]
    widths: dict[int, Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]] = {32: lambda vectors: vectors}
    bits: Bits
    for bits in (8, 4):
        widths[bits] = _quantised(fitted_codec(items.vectors, bits))
    return {
        width: np.split(_scores(contexts, items, quantised(items.vectors), owner), cuts)
        for width, quantised in widths.items()
    }


def _contexts(tower: TrainedTower, contexts: Sequence[TokenIds], template: PairTemplate) -> TextVectors:
    """Encode contexts as the service does: one at a time, in int8."""
    file = tower.onnx.with_name(f"{tower.onnx.stem}-context.onnx")
    if not file.exists():
        write_context_tower(tower.onnx, file)
    read = LateInteractionTower(OnnxModel(file, SessionOptions(threads=1)), template)
    return TextVectors.concatenate([read(TokenRows.from_rows([one]), Role.CONTEXT) for one in contexts])


def _quantised(codec: VectorCodec) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    return lambda vectors: codec.decode(codec.encode(vectors))


def _scores(
    contexts: TextVectors, items: TextVectors, vectors: npt.NDArray[np.float32], owner: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Score each item for its context, without optimisation."""
    context_ends, item_ends = np.cumsum(contexts.lengths), np.cumsum(items.lengths)
    scores = np.empty(len(owner))
    for row, query in enumerate(owner.tolist()):
        of_context = slice(context_ends[query] - contexts.lengths[query], context_ends[query])
        item = vectors[item_ends[row] - items.lengths[row] : item_ends[row]]
        scores[row] = (contexts.vectors[of_context] @ item.T).max(axis=1) @ contexts.weights[of_context]
    similarity = (contexts.pooled[owner] * items.pooled).sum(axis=1)
    return np.asarray(scores + similarity + contexts.prior[owner] + items.prior, np.float32)


def _quality(examples: Sequence[RankingExample], scores: Scores, full: Scores, random_ndcg: float) -> Quality:
    of_ours, of_full = ndcg(examples, scores), ndcg(examples, full)
    ours, theirs = _accuracies(examples, scores), _accuracies(examples, full)
    return Quality(
        float(of_ours.mean()),
        random_ndcg,
        spearman(examples, scores),
        float(ours.mean()),
        {
            "NDCG@10": paired_bootstrap(of_ours, of_full, seed=0),
            "Spearman": spearman_difference(examples, scores, full),
            "pair accuracy": paired_bootstrap(ours, theirs, seed=0),
        },
    )


def _accuracies(examples: Sequence[RankingExample], scores: Scores) -> Float64Array:
    """Return the share of unequal pairs in order of each query that has such pairs; equal scores count half."""
    shares = []
    for example, values in zip(examples, scores, strict=True):
        better = example.labels[:, None] > example.labels
        if better.any():
            gaps = (values[:, None] - values)[better]
            shares.append(float((gaps > 0).mean() + (gaps == 0).mean() / 2))
    return np.array(shares)


def _random_ndcg(examples: Sequence[RankingExample]) -> float:
    generator = np.random.default_rng(0)
    orders = ([generator.random(len(one.labels), np.float32) for one in examples] for _ in range(_RANDOM_ORDERS))
    return float(np.mean([ndcg(examples, order).mean() for order in orders]))
