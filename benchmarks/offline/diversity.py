"""What do answers lose that differ more, and answers with more of the long tail? Online Retail through the gateway.

The customers of the last fortnight are split in two. The validation part is asked with every value, which draws the
curves and chooses one value each: the most different answers at a loss of NDCG@10 of at most 2 %, and the largest share
of the long tail at a loss of at most 3 %. The test part is asked once, plainly and with the chosen values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.offline.online_retail import served_release
from common.arrays import Float64Array
from common.server import event_loop
from common.server.channel import open_channel
from pipeline.measurement.metrics.estimates import Difference
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.protocols import Question

DIVERSITIES: Final = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
SHARES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
MAX_DIVERSITY_LOSS: Final = 0.02
MAX_TAIL_LOSS: Final = 0.03
_NDCG: Final = "ndcg@10"
_LIMIT: Final = 10
_CALLERS: Final = 2
_TIMEOUT_S: Final = 30.0
_SEED: Final = 7
# Chooses by probability, and has the answer say how different its items are.
_PLAIN: Final = 1e-9


@dataclass(frozen=True)
class Point:
    """What answers with one policy are like.

    Attributes:
        value: The diversity, or the minimum share of the long tail.
        ndcg: NDCG@10 of each question; shape [questions].
        diversity: Mean intra-list diversity.
        tail: Mean share of the long tail.
    """

    value: float
    ndcg: Float64Array
    diversity: float
    tail: float

    def loss(self, plain: Point) -> float:
        """Return the share of NDCG@10 that is lost compared with plain answers."""
        return float(1.0 - self.ndcg.mean() / plain.ndcg.mean())


def run(quick: bool, console: Console) -> Result:
    """Build or reuse the release, draw the curves on the validation part, and ask the test part once."""
    with served_release(quick, console) as (target, groups):
        questions = [question for group in groups.values() for question in group.main]
        validation, test = halves(questions)
        return event_loop.run(_measure(target, validation, test))


def halves(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Split questions into a validation and a test part at random, always the same way."""
    order = np.random.default_rng(_SEED).permutation(len(questions)).tolist()
    half = len(order) // 2
    return [questions[at] for at in order[:half]], [questions[at] for at in order[half:]]


def choose(points: Sequence[Point], max_loss: float, measure: str) -> Point:
    """Return the point with the largest measure among those that lose at most ``max_loss``; the first is plain."""
    allowed = [point for point in points if point.loss(points[0]) <= max_loss]
    return max(allowed, key=lambda point: float(getattr(point, measure)))


async def _measure(target: str, validation: Sequence[Question], test: Sequence[Question]) -> Result:
    async with open_channel(target) as channel:
        stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
        diverse = [await _ask(stub, validation, diversity=value) for value in DIVERSITIES]
        tails = [await _ask(stub, validation, tail=value) for value in SHARES]
        diversity = choose(diverse, MAX_DIVERSITY_LOSS, "diversity").value
        share = choose(tails, MAX_TAIL_LOSS, "tail").value
        plain = await _ask(stub, test)
        with_diversity, with_tail = await _ask(stub, test, diversity=diversity), await _ask(stub, test, tail=share)
    thresholds = [
        at_least("intra-list diversity, relative to plain answers", 1.2, with_diversity.diversity / plain.diversity),
        at_most("NDCG@10 lost by diversity, share", MAX_DIVERSITY_LOSS, with_diversity.loss(plain)),
        at_least("share of the long tail, relative to plain answers", 2.0, with_tail.tail / max(plain.tail, 1e-9)),
        at_most("NDCG@10 lost by the long tail, share", MAX_TAIL_LOSS, with_tail.loss(plain)),
    ]
    chosen = {f"diversity {diversity:g}": with_diversity, f"tail share {share:g}": with_tail}
    figures = {
        "validation, diversity": [_figures(point, diverse[0]) for point in diverse],
        "validation, tail share": [_figures(point, tails[0]) for point in tails],
        "test": {"plain": _figures(plain, plain), **{name: _figures(one, plain) for name, one in chosen.items()}},
        "questions": {"validation": len(validation), "test": len(test)},
    }
    tables = [
        _table("Diversity, validation", {f"{point.value:g}": point for point in diverse}),
        _table("Least share of the long tail, validation", {f"{point.value:g}": point for point in tails}),
        _table("Test, asked once", {"plain": plain, **chosen}),
    ]
    return Result(figures, thresholds, tables)


async def _ask(stub: Any, questions: Sequence[Question], diversity: float = 0.0, tail: float = 0.0) -> Point:
    """Ask every question with one policy, two at a time."""
    policy = gateway_pb2.Policy(
        diversity=diversity or _PLAIN, min_long_tail_share=tail, keep_duplicates=True, min_new_item_share=0.0
    )
    answers: dict[str, gateway_pb2.RecommendResponse] = {}
    waiting = iter(questions)

    async def caller() -> None:
        for question in waiting:
            request = gateway_pb2.RecommendRequest(
                history_item_ids=question.history[-10_000:], limit=_LIMIT, policy=policy
            )
            answer = await stub.Recommend(request, timeout=_TIMEOUT_S)
            if answer.degradations:
                raise RuntimeError(f"an answer is degraded: {answer.degradations}")
            answers[question.key] = answer

    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    rankings = {question.key: [item.item_id for item in answers[question.key].items] for question in questions}
    relevance: Mapping[str, Mapping[str, float]] = {question.key: question.relevant for question in questions}
    ndcg = evaluate(rankings, relevance, [_NDCG])[_NDCG]
    known = [answer.intra_list_diversity for answer in answers.values() if answer.HasField("intra_list_diversity")]
    shares = [answer.long_tail_share for answer in answers.values()]
    return Point(diversity or tail, ndcg, float(np.mean(known)), float(np.mean(shares)))


def _figures(point: Point, plain: Point) -> dict[str, float]:
    over = Difference.between(point.ndcg, plain.ndcg, _SEED)
    return {
        "value": point.value,
        "ndcg@10": float(point.ndcg.mean()),
        "difference": over.mean,
        "low": over.low,
        "high": over.high,
        "loss": point.loss(plain),
        "intra-list diversity": point.diversity,
        "long-tail share": point.tail,
    }


def _table(title: str, points: Mapping[str, Point]) -> Table:
    table = Table("", "NDCG@10", "lost", "intra-list diversity", "long-tail share", title=title)
    plain = next(iter(points.values()))
    for name, point in points.items():
        lost = f"{100 * point.loss(plain):.1f} %"
        table.add_row(name, f"{point.ndcg.mean():.4f}", lost, f"{point.diversity:.3f}", f"{point.tail:.3f}")
    return table
