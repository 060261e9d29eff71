"""What the fusion of searches learns from: judged pairs as the serving features see them, and held-out scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.catalogue import Catalogue
from pipeline.progress import ProgressReport, Step
from pipeline.train.exported import loaded_cross_encoder, loaded_encoder
from pipeline.train.graded_fusion import GradedExamples
from pipeline.train.judged import JudgedQuery, fingerprint
from pipeline.train.pair_examples import score_pairs
from pipeline.train.search_models import SearchModels
from services.ranking.features import Features
from services.ranking.pairs import Pairs
from services.ranking.request_rows import CandidateRows, PersonRows
from services.retrieval.encoder import TextEncoder

Floats = npt.NDArray[np.float32]

# The first stage's source whose score is the encoder's cosine.
SEMANTIC = "semantic"


def held_out(
    queries: Sequence[JudgedQuery],
    fold: npt.NDArray[np.int64],
    score: Callable[[Sequence[JudgedQuery], Sequence[JudgedQuery]], Floats],
) -> Floats:
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


def held_out_logits(
    models: SearchModels, queries: Sequence[JudgedQuery], fold: npt.NDArray[np.int64], report: ProgressReport
) -> Floats:
    """Return what `held_out` does by cross-encoders, trained where they are not kept."""

    def read(others: Sequence[JudgedQuery], held: Sequence[JudgedQuery]) -> Floats:
        model = models.cross_encoder(others)
        with report.step("Reading held-out queries", sum(len(one.rows) for one in held)) as step:
            return judged_logits(model, held, [models.pairs(one) for one in held], step)

    return held_out(queries, fold, read)


def taught_student(models: SearchModels, queries: Sequence[JudgedQuery], layers: int, report: ProgressReport) -> Path:
    """Return the folder of a shallower cross-encoder, taught by the one of these queries what it says of them."""
    teacher = models.cross_encoder(queries)
    with report.step("Having the cross-encoder teach", sum(len(one.rows) for one in queries)) as step:
        logits = judged_logits(teacher, queries, [models.pairs(one) for one in queries], step)
    return models.student(queries, layers, logits)


def judged_logits(model: Path, queries: Sequence[JudgedQuery], pairs: Sequence[Pairs], step: Step) -> Floats:
    """Return a trained cross-encoder's logits of judged pairs, one query's after the other; kept beside the model."""

    def read() -> Floats:
        return np.concatenate(score_pairs(loaded_cross_encoder(model), pairs, step))

    return _kept(model / f"logits-{fingerprint(queries)[:16]}.npy", read)


def judged_cosines(
    encoder: TextEncoder, queries: Sequence[JudgedQuery], catalogue: Catalogue, prefixes: tuple[str, str]
) -> Floats:
    """Return an encoder's cosines of judged pairs, one query's after the other.

    Args:
        encoder: Embeds queries and items.
        queries: The judged queries.
        catalogue: The items.
        prefixes: What goes before queries and before items.
    """
    asked = encoder.encode([prefixes[0] + one.query for one in queries])
    rows, place = np.unique(np.concatenate([one.rows for one in queries]), return_inverse=True)
    items = encoder.encode([prefixes[1] + catalogue.text(int(row)) for row in rows])
    query_of = np.repeat(np.arange(len(queries)), [len(one.rows) for one in queries])
    cosines: Floats = np.einsum("ij,ij->i", asked[query_of], items[place]).astype(np.float32)
    return cosines


def held_out_cosines(
    model: Path, queries: Sequence[JudgedQuery], catalogue: Catalogue, prefixes: tuple[str, str]
) -> Floats:
    """Return what `judged_cosines` does of an encoder in Hugging Face's form; kept beside it."""

    def read() -> Floats:
        return judged_cosines(loaded_encoder(model), queries, catalogue, prefixes)

    return _kept(model / f"cosines-{fingerprint(queries)[:16]}.npy", read)


def graded_examples(
    features: Features,
    queries: Sequence[JudgedQuery],
    cosines: Floats,
    logits: Floats,
    fold: npt.NDArray[np.int64],
    step: Step,
) -> GradedExamples:
    """Compute the features of every judged pair as the ranking service does, a query being one request.

    Args:
        features: The release's.
        queries: The judged queries.
        cosines: Of every pair, from an encoder that has not seen the query; float32[pairs].
        logits: The same from a cross-encoder; float32[pairs].
        fold: The fold of each query; int64[queries].
        step: Told of each query.
    """
    ends = np.cumsum([len(one.rows) for one in queries])
    read, unread = [], []
    for one, cosine, logit in zip(queries, np.split(cosines, ends[:-1]), np.split(logits, ends[:-1]), strict=True):
        candidates = CandidateRows(one.rows, np.full(len(one.rows), np.nan, np.float32), {SEMANTIC: cosine})
        matrix = features.matrix(PersonRows(np.empty(0, np.int64), one.query), candidates)
        unread.append(matrix)
        read.append(features.with_logits(matrix, logit))
        step.advance()
    grades = np.concatenate([one.grades for one in queries])
    sizes = [len(one.rows) for one in queries]
    return GradedExamples(np.concatenate(read), np.concatenate(unread), grades, np.repeat(fold, sizes))


def _kept(file: Path, compute: Callable[[], Floats]) -> Floats:
    if not file.exists():
        np.save(file, compute())
    kept: Floats = np.load(file)
    return kept
