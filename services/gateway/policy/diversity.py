"""Which items are chosen so that they differ from one another: maximal marginal relevance over the items' vectors.

Each choice is the item with the highest ``(1 - diversity) * relevance - diversity * similarity``, where similarity is
the largest cosine between the item and one chosen before (Carbonell and Goldstein, "The use of MMR, diversity-based
reranking for reordering documents and producing summaries", SIGIR 1998). Relevance is the probability relative to the
highest one, since probabilities of purchases are small and cosines are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from common.arrays import BoolMask, Float64Array
from services.gateway.candidates import RankedCandidate
from services.gateway.policy.caps import Caps

_TAKEN: Final = -np.inf


def choose_diverse(
    items: Sequence[RankedCandidate], limit: int, caps: Caps, diversity: float
) -> Sequence[RankedCandidate]:
    """Choose at most ``limit`` items within the caps, and count them there; the order of ``items`` is kept.

    An item without a vector is neutral: its similarity is the mean of the others', and nothing is similar to it. The
    cost is one product of a matrix [items, dimension] and a vector for each item chosen.

    Args:
        items: Every item that may be chosen, best first.
        limit: How many to choose at most.
        caps: The caps.
        diversity: The weight of similarity, 0 to 1.
    """
    vectors = _unit_vectors(items)
    is_known: BoolMask = np.any(vectors, axis=1)
    relevance = (1.0 - diversity) * _relevance(items)
    similarity: Float64Array = np.full(len(items), -1.0)
    scores, chosen = relevance.copy(), np.zeros(len(items), np.bool_)
    for _ in items:
        best = int(scores.argmax())
        if np.count_nonzero(chosen) == limit or scores[best] == _TAKEN:
            break
        scores[best] = relevance[best] = _TAKEN
        key = caps.key(items[best])
        if not caps.has_room(key):  # and never will: a cap that is reached stays so
            continue
        caps.add(key, 1)
        chosen[best] = True
        if is_known[best]:
            similarity = np.maximum(similarity, vectors @ vectors[best])
        scores = relevance - diversity * _neutral(similarity, is_known & ~chosen, is_known)
    return [items[position] for position in np.flatnonzero(chosen).tolist()]


def intra_list_diversity(items: Sequence[RankedCandidate]) -> float | None:
    """Return 1 minus the mean cosine of all pairs of items that have vectors; None if fewer than two have one.

    Ziegler, McNee, Konstan and Lausen, "Improving recommendation lists through topic diversification", WWW 2005.
    """
    vectors = _unit_vectors([item for item in items if item.candidate.vector])
    count = len(vectors)
    if count < 2:  # noqa: PLR2004 - a pair
        return None
    total = np.square(vectors.sum(axis=0)).sum()
    return float(1.0 - (total - count) / (count * (count - 1)))


def _neutral(similarity: Float64Array, left: BoolMask, is_known: BoolMask) -> Float64Array:
    """Return the similarities, those of items without a vector replaced by the mean of the others still to choose."""
    mean = float(similarity[left].mean()) if left.any() else 0.0
    return np.where(is_known, similarity, mean)


def _relevance(items: Sequence[RankedCandidate]) -> Float64Array:
    """Return each item's probability relative to the highest, or its first-stage score if there is none; 0 to 1."""
    values = np.array(
        [item.candidate.score if item.probability is None else item.probability for item in items], np.float64
    )
    highest = values.max(initial=0.0)
    relative: Float64Array = values / highest if highest > 0 else np.zeros(len(items))
    return np.clip(relative, 0.0, 1.0)


def _unit_vectors(items: Sequence[RankedCandidate]) -> Float64Array:
    """Return the items' vectors at unit length, all zero for one that is not known; shape [items, dimension]."""
    size = max((len(item.candidate.vector) for item in items), default=0)
    joined = b"".join(item.candidate.vector.ljust(size, b"\0") for item in items)
    vectors = np.frombuffer(joined, np.int8).reshape(len(items), size).astype(np.float64)
    lengths = np.sqrt(np.vecdot(vectors, vectors))[:, np.newaxis]
    unit: Float64Array = vectors / np.where(lengths > 0, lengths, 1.0)
    return unit
