"""What the first stage finds for requests whose future is known: the examples that the second stage learns from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.fusion.source_weights import fit_source_weights
from pipeline.progress import ProgressStep
from services.ranking.request import CandidateRows, UserRows
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.candidates.request import Request
from services.retrieval.candidates.score_fusion import LinearFusion, normalised
from services.retrieval.sources.user_context import Situation

_CHUNK: Final = 32
# Kinds of source that find an item without behaviour.
TEXT_KINDS: Final = ("semantic", "similar", "lexical")


@dataclass(frozen=True)
class LabelledCandidates:
    """The first stage's candidates of one request, and which of them were bought.

    Attributes:
        request: The request.
        user: Its history in catalogue rows, and its query.
        candidates: What the first stage found, best first.
        labels: 1 if bought; float32 [candidates].
    """

    request: ShopRequest
    user: UserRows
    candidates: CandidateRows
    labels: npt.NDArray[np.float32]

    def first(self, count: int) -> LabelledCandidates:
        """Return the request with its first candidates alone."""
        if count >= len(self.labels):
            return self
        found = self.candidates
        sources = {name: scores[:count] for name, scores in found.sources.items()}
        candidates = CandidateRows(found.rows[:count], found.first_stage_score[:count], sources)
        return LabelledCandidates(self.request, self.user, candidates, self.labels[:count])


def label_candidates(
    first_stage: FirstStage, requests: Sequence[ShopRequest], limit: int, step: ProgressStep
) -> list[LabelledCandidates]:
    """Ask the serving first stage for the candidates of each request."""
    examples = []
    for start in range(0, len(requests), _CHUNK):
        chunk = requests[start : start + _CHUNK]
        answers = first_stage.retrieve([_asked(request, limit) for request in chunk])
        examples += [_labelled(first_stage, request, answer) for request, answer in zip(chunk, answers, strict=True)]
        step.advance(len(chunk))
    return examples


def learn_source_weights(labelled: Iterable[LabelledCandidates], sources: Sequence[str]) -> dict[str, dict[str, float]]:
    """Fit the first stage's weights for each situation that occurs, by the sources' names."""
    by_situation: dict[str, list[LabelledCandidates]] = defaultdict(list)
    for example in labelled:
        by_situation[request_kind(example.user)].append(example)
    weights = {}
    for known, examples in by_situation.items():
        scores = [_source_scores(example.candidates, sources) for example in examples]
        fitted = fit_source_weights(
            np.concatenate([normalised(part).astype(np.float32) for part in scores]),
            np.concatenate([example.labels for example in examples]),
            np.array([len(example.labels) for example in examples]),
        )
        weights[known] = {name: round(float(weight), 4) for name, weight in zip(sources, fitted, strict=True)}
    return weights


def with_semantic_floor(
    weights: Mapping[str, Mapping[str, float]], kind_of: Callable[[str], str]
) -> dict[str, dict[str, float]]:
    """Return weights with which a semantic source counts at least as much as every lexical one in searches.

    Training searches are made of titles, so the words of each are in the title that it should find. They cannot show
    what a semantic source finds for people who use other words, and give it almost no weight against a lexical one.

    Args:
        weights: For each situation, the weight of each source.
        kind_of: Returns a source's kind.
    """
    floored = {}
    for situation, of_source in weights.items():
        lexical = [weight for name, weight in of_source.items() if kind_of(name) == "lexical"]
        floor = max(lexical, default=0.0) if situation in ("query", "both") else 0.0
        floored[situation] = {
            name: max(weight, floor) if kind_of(name) == "semantic" else weight for name, weight in of_source.items()
        }
    return floored


def as_new_items(
    example: LabelledCandidates, settings: FirstStageSettings, are_new: npt.NDArray[np.bool_] | None = None
) -> LabelledCandidates | None:
    """Return a search as if some candidates were new: found by their texts alone.

    Args:
        example: A search and its candidates.
        settings: The first stage's settings.
        are_new: Which candidates are new; all by default; bool[candidates].

    Returns:
        The candidates in the order that the first stage gives them then, without new ones that no source of texts
        found; None if there is no query, or no candidate is left.
    """
    found = example.candidates
    if not example.user.query or not found.sources:
        return None
    are_new = np.ones(len(found), np.bool_) if are_new is None else are_new
    names = list(found.sources)
    counted = np.array([settings.kind_of(name) not in TEXT_KINDS for name in names])
    scores = np.stack([np.asarray(found.sources[name], np.float32) for name in names], axis=1)
    scores[np.ix_(are_new, counted)] = np.nan
    kept = np.flatnonzero(np.isfinite(scores).any(axis=1))
    if not len(kept):
        return None
    situation: Situation = "both" if len(example.user.history) else "query"
    fused = LinearFusion(settings.weights).fuse(scores[kept], [len(kept)], [situation], names)
    order = np.argsort(-fused, kind="stable")
    kept, fused = kept[order], fused[order].astype(np.float32)
    candidates = CandidateRows(found.rows[kept], fused, dict(zip(names, scores[kept].T, strict=True)))
    return LabelledCandidates(example.request, example.user, candidates, example.labels[kept])


def _asked(request: ShopRequest, limit: int) -> Request:
    return Request(
        query=request.query, history_item_ids=request.history, limit=limit, history_kinds=request.history_kinds
    )


def _labelled(first_stage: FirstStage, request: ShopRequest, answer: Candidates) -> LabelledCandidates:
    history = first_stage.snapshot.history_rows(request.history)
    sources = dict(zip(answer.sources, answer.source_scores.T, strict=True))
    return LabelledCandidates(
        request,
        UserRows.from_history(
            history, answer.query, first_stage.settings.events, request.history_kinds, request.history_ages_s
        ),
        CandidateRows(answer.rows, answer.scores.astype(np.float32), sources),
        np.array([item_id in request.bought for item_id in answer.item_ids], np.float32),
    )


def request_kind(user: UserRows) -> str:
    """Return what is known of a user, in the first stage's words."""
    if user.query:
        return "both" if len(user.history) else "query"
    return "history" if len(user.history) else "none"


def _source_scores(candidates: CandidateRows, sources: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.stack([np.asarray(candidates.sources[name], np.float32) for name in sources], axis=1)
