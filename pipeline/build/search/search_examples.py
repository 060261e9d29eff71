"""What the fusion of searches learns from: judged pairs as the serving features see them, and held-out scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from common.release.catalogue import Catalogue
from pipeline.build.search.search_models import SearchModels, cached_scores
from pipeline.learning.examples.judged_queries import JudgedQuery, fingerprint
from pipeline.learning.fusion.graded_trees import GradedExamples
from pipeline.progress import ProgressStep
from pipeline.release.export.cached_export import loaded_encoder
from services.ranking.features.feature_set import FeatureSet
from services.ranking.request import CandidateRows, UserRows
from services.retrieval.encoding.text_encoder import TextEncoder

# The first stage's source whose score is the encoder's cosine.
SEMANTIC: Final = "semantic"
# What the fusion may know of a pair, as serving leaves it.
FUSION: Final = "fusion"
UNREAD: Final = "fusion without the logit"
UNSCORED: Final = "fusion without logit and late interaction"


def held_out(
    queries: Sequence[JudgedQuery],
    fold: npt.NDArray[np.int64],
    score: Callable[[Sequence[JudgedQuery], Sequence[JudgedQuery]], Float32Array],
) -> Float32Array:
    """Return scores of every judged pair by what has not seen its query, one query's after the other.

    Args:
        queries: The judged queries.
        fold: The fold of each.
        score: Scores the pairs of the second queries by what was trained on the first.
    """
    scores = [np.empty(0, np.float32)] * len(queries)
    for number in np.unique(fold):
        places = np.flatnonzero(fold == number).tolist()
        held = [queries[place] for place in places]
        others = [queries[place] for place in np.flatnonzero(fold != number).tolist()]
        ends = np.cumsum([len(one.rows) for one in held])[:-1]
        for place, part in zip(places, np.split(score(others, held), ends), strict=True):
            scores[place] = part
    return np.concatenate(scores)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Scores of judged pairs by models that have not seen the query; each float32[pairs], query by query.

    Attributes:
        cosines: The encoder's.
        logits: The cross-encoder's; None if there is no such tier.
        late: Late interaction's scores; None if there is no such tier.
    """

    cosines: Float32Array
    logits: Float32Array | None
    late: Float32Array | None

    def without(self, tier: str) -> HeldOut:
        """Return the scores without those of a tier, by its name in a plan."""
        return replace(self, logits=None) if tier == "cross_encoder" else replace(self, late=None)


def hold_out(
    models: SearchModels,
    queries: Sequence[JudgedQuery],
    fold: npt.NDArray[np.int64],
    cosines: Callable[[Path, Sequence[JudgedQuery]], Float32Array],
    *,
    reads: bool,
    late: bool,
) -> HeldOut:
    """Train a model for each fold, unless it is cached, and score the queries that it has not seen.

    Args:
        models: Trains and keeps them.
        queries: The judged queries.
        fold: The fold of each.
        cosines: Compares queries and items by an encoder.
        reads: Whether there is a cross-encoder.
        late: Whether there is late interaction.
    """

    def scored(score: Callable[[Sequence[JudgedQuery], Sequence[JudgedQuery]], Float32Array]) -> Float32Array:
        return held_out(queries, fold, score)

    return HeldOut(
        scored(lambda others, held: cosines(models.encoder(others), held)),
        scored(lambda others, held: models.logits(models.cross_encoder(others), held)) if reads else None,
        scored(lambda others, held: models.late_scores(models.tower(others), held)) if late else None,
    )


def judged_cosines(
    encoder: TextEncoder, queries: Sequence[JudgedQuery], catalogue: Catalogue, prefixes: tuple[str, str]
) -> Float32Array:
    """Return an encoder's cosines of judged pairs, one query's after the other.

    Args:
        encoder: Embeds queries and items.
        queries: The judged queries.
        catalogue: The items.
        prefixes: The prefix of queries and the prefix of items.
    """
    asked = encoder.encode([prefixes[0] + one.query for one in queries])
    rows, place = np.unique(np.concatenate([one.rows for one in queries]), return_inverse=True)
    items = encoder.encode([prefixes[1] + catalogue.text(int(row)) for row in rows])
    query_of = np.repeat(np.arange(len(queries)), [len(one.rows) for one in queries])
    cosines: Float32Array = np.einsum("ij,ij->i", asked[query_of], items[place]).astype(np.float32)
    return cosines


def held_out_cosines(
    model: Path, queries: Sequence[JudgedQuery], catalogue: Catalogue, prefixes: tuple[str, str]
) -> Float32Array:
    """Return `judged_cosines` of an encoder in Hugging Face's form; cached in its folder."""

    def read() -> Float32Array:
        return judged_cosines(loaded_encoder(model), queries, catalogue, prefixes)

    return cached_scores(model / f"cosines-{fingerprint(queries)[:16]}.npy", read)


def graded_examples(
    features: FeatureSet,
    queries: Sequence[JudgedQuery],
    held: HeldOut,
    fold: npt.NDArray[np.int64],
    step: ProgressStep,
) -> GradedExamples:
    """Compute the features of every judged pair as the ranking service does, a query being one request.

    The first view has the scores of every tier that there is, the others those of cheaper ones.

    Args:
        features: The release's.
        queries: The judged queries.
        held: Scores by models that have not seen the queries.
        fold: The fold of each query; int64[queries].
        step: Counts the queries.
    """
    sizes = [len(one.rows) for one in queries]
    unknown = np.full(sum(sizes), np.nan, np.float32)
    columns = [held.cosines, *(unknown if one is None else one for one in (held.logits, held.late))]
    parts = zip(*(np.split(column, np.cumsum(sizes)[:-1]) for column in columns), strict=True)
    views: dict[str, list[Float32Array]] = {}
    for one, (cosine, logit, late) in zip(queries, parts, strict=True):
        candidates = CandidateRows(one.rows, np.full(len(one.rows), np.nan, np.float32), {SEMANTIC: cosine})
        plain = features.matrix(UserRows(np.empty(0, np.int64), one.query), candidates)
        unread = features.with_late(plain, late)
        views.setdefault(FUSION, []).append(features.with_logits(unread, logit))
        if held.logits is not None:
            views.setdefault(UNREAD, []).append(unread)
        if held.late is not None:
            views.setdefault(UNSCORED, []).append(plain)
        step.advance()
    grades = np.concatenate([one.grades for one in queries])
    whole = {name: np.concatenate(rows) for name, rows in views.items()}
    return GradedExamples(whole, grades, np.repeat(fold, sizes))
