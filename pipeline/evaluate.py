"""Measuring recommendations through the running gateway, on purchases that nothing learned from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from shortlist.gateway.v1.gateway_pb2 import Policy, RecommendRequest, RecommendResponse, Stages
from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceStub

from common.channel import open_channel
from pipeline.metrics import Interval, Scores, bootstrap_interval, coverage, evaluate, paired_bootstrap
from pipeline.progress import Step
from pipeline.split import Example

if TYPE_CHECKING:
    from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceAsyncStub

# What is compared, in the order of the claim: each must beat the one before it.
MODES: Final[Mapping[str, Stages.ValueType]] = {
    "popular items": Stages.STAGES_POPULAR,
    "first stage alone": Stages.STAGES_FIRST,
    "two stages": Stages.STAGES_BOTH,
}
MEASURES: Final = ("ndcg@10", "hr@10", "recall@100")
_LIMIT: Final = 100
_CALLERS: Final = 2
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Run:
    """What the gateway answered in one mode.

    Attributes:
        rankings: Item ids, best first, by person.
        stage_ms: Milliseconds of each answer by stage, in the order of the people.
        degraded: How many answers were degraded.
    """

    rankings: dict[str, list[str]]
    stage_ms: dict[str, list[float]]
    degraded: int


@dataclass(frozen=True)
class Measured:
    """The figures of one mode.

    Attributes:
        means: Each measure with its 95 % interval over people.
        gain: The difference in each measure to the mode before, paired by person; None for the first mode.
        coverage: Share of the catalogue in somebody's first ten.
        median_ms: Median milliseconds of each stage.
        degraded: How many answers were degraded.
    """

    means: dict[str, Interval]
    gain: dict[str, Interval] | None
    coverage: float
    median_ms: dict[str, float]
    degraded: int


async def ask(target: str, examples: Sequence[Example], stages: Stages.ValueType, step: Step) -> Run:
    """Ask the gateway at ``target`` for a hundred items for each person, by history."""
    answers: list[RecommendResponse | None] = [None] * len(examples)
    waiting = iter(range(len(examples)))

    async def caller(stub: RecommendationServiceAsyncStub) -> None:
        for place in waiting:
            request = RecommendRequest(
                history_item_ids=examples[place].history, limit=_LIMIT, policy=Policy(stages=stages)
            )
            answers[place] = await stub.Recommend(request, timeout=_TIMEOUT_S)
            step.advance()

    async with open_channel(target) as channel:
        stub = RecommendationServiceStub(channel)
        await asyncio.gather(*(caller(stub) for _ in range(_CALLERS)))
    return _run(examples, [answer for answer in answers if answer is not None])


def compare(examples: Sequence[Example], runs: Mapping[str, Run], items: int, seed: int) -> dict[str, Measured]:
    """Measure each mode, and what it gains over the mode before it.

    Args:
        examples: The people, with what they went on to buy.
        runs: The answers by mode, in the order of the claim.
        items: Items of the catalogue.
        seed: Of the bootstrap.
    """
    relevance = {example.user_id: example.held_out for example in examples}
    measured: dict[str, Measured] = {}
    before: dict[str, Scores] | None = None
    for mode, run in runs.items():
        scores = evaluate(run.rankings, relevance, MEASURES)
        measured[mode] = Measured(
            means={name: bootstrap_interval(values, seed=seed) for name, values in scores.items()},
            gain=None if before is None else _gains(before, scores, seed),
            coverage=coverage(run.rankings, items, 10),
            median_ms={stage: median(values) for stage, values in run.stage_ms.items()},
            degraded=run.degraded,
        )
        before = scores
    return measured


def _gains(before: dict[str, Scores], after: dict[str, Scores], seed: int) -> dict[str, Interval]:
    return {name: paired_bootstrap(after[name], before[name], seed=seed) for name in after}


def _run(examples: Sequence[Example], answers: Sequence[RecommendResponse]) -> Run:
    people = [example.user_id for example in examples]
    return Run(
        rankings={
            person: [item.item_id for item in answer.items] for person, answer in zip(people, answers, strict=True)
        },
        stage_ms={
            "retrieval": [answer.timings.retrieval_ms for answer in answers],
            "ranking": [answer.timings.ranking_ms for answer in answers],
            "total": [answer.timings.total_ms for answer in answers],
        },
        degraded=sum(bool(answer.degradations) for answer in answers),
    )
