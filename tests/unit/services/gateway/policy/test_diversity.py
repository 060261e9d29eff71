"""Maximal marginal relevance, compared with its definition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.policy.caps import Caps
from services.gateway.policy.diversity import choose_diverse, intra_list_diversity
from services.gateway.policy.policy import Policy, apply_policy

_VECTOR = st.lists(st.integers(-127, 127), min_size=3, max_size=3).map(lambda v: np.array(v, np.int8).tobytes())


def _item(at: int, probability: float | None, vector: bytes = b"", brand: str = "") -> RankedCandidate:
    return RankedCandidate(Candidate(f"i{at}", 1.0 / (at + 1), brand=brand, vector=vector), at + 1, probability)


@st.composite
def _items(draw: st.DrawFn) -> list[RankedCandidate]:
    probabilities = sorted(draw(st.lists(st.floats(0.001, 1), min_size=1, max_size=9)), reverse=True)
    brands, vectors = st.sampled_from(["", "a", "b"]), st.just(b"") | _VECTOR
    return [_item(at, value, draw(vectors), draw(brands)) for at, value in enumerate(probabilities)]


def _cosine(one: RankedCandidate, other: RankedCandidate) -> float:
    a, b = (np.frombuffer(item.candidate.vector, np.int8).astype(float) for item in (one, other))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _has_vector(item: RankedCandidate) -> bool:
    return any(item.candidate.vector)


def _scores(items: Sequence[RankedCandidate], chosen: list[int], diversity: float) -> dict[int, float]:
    """Return the score of every item that is not chosen, as the paper defines it."""
    known = [items[at] for at in chosen if _has_vector(items[at])]
    highest = max(item.probability or 0.0 for item in items)
    similarity = {
        at: max((_cosine(item, other) for other in known), default=-1.0)
        for at, item in enumerate(items)
        if _has_vector(item) and at not in chosen
    }
    mean = float(np.mean(list(similarity.values()))) if similarity else 0.0
    return {
        at: (1 - diversity) * (item.probability or 0.0) / highest - diversity * similarity.get(at, mean)
        for at, item in enumerate(items)
        if at not in chosen
    }


@given(_items(), st.integers(1, 6), st.floats(0.01, 1), st.none() | st.integers(1, 2))
def test_each_choice_is_the_best_by_definition(
    items: list[RankedCandidate], limit: int, diversity: float, cap: int | None
):
    """Replayed step by step, some order of the choices takes a best item each time, within the caps."""
    chosen = choose_diverse(items, limit, Caps(cap, None), diversity)
    left = {items.index(item) for item in chosen}
    assert [items[at] for at in sorted(left)] == chosen, "the order is kept"
    order: list[int] = []
    counts: dict[str, int] = {}
    while left:
        allowed = {
            at: score
            for at, score in _scores(items, order, diversity).items()
            if cap is None or not items[at].candidate.brand or counts.get(items[at].candidate.brand, 0) < cap
        }
        best = max(allowed.values())
        taken = next((at for at in sorted(left) if at in allowed and allowed[at] >= best - 1e-9), None)
        if taken is None:
            pytest.fail(f"none of {left} is best after {order}: {allowed}")
        order.append(taken)
        left.remove(taken)
        brand = items[taken].candidate.brand
        counts[brand] = counts.get(brand, 0) + 1
    if len(order) < limit:  # then nothing more was allowed
        assert all(
            cap is not None and counts.get(item.candidate.brand, 0) >= cap and item.candidate.brand
            for item in items
            if item not in chosen
        )


def test_a_diversity_of_zero_changes_nothing():
    """Without a diversity the most probable items are chosen, whatever their vectors."""
    items = [_item(at, 1 - at / 10, b"\x7f\0") for at in range(5)]
    assert apply_policy(items, Policy(limit=3, diversity=0.0)).items == items[:3]


def test_items_without_vectors_are_chosen_by_probability():
    """If no item has a vector, the diversity changes nothing."""
    items = [_item(at, 1 - at / 10) for at in range(5)]
    assert choose_diverse(items, 3, Caps(None, None), 0.9) == items[:3]


def test_an_item_without_a_vector_neither_gains_nor_loses():
    """It goes before the copies of what is chosen, and behind what differs from it."""
    same, other = b"\x7f\0", b"\0\x7f"
    items = [_item(0, 0.9, same), _item(1, 0.9, same), _item(2, 0.9), _item(3, 0.9, other)]
    items.append(_item(4, 0.01, b"\x7f\x7f"))
    assert [i.candidate.item_id for i in choose_diverse(items, 2, Caps(None, None), 0.5)] == ["i0", "i3"]
    assert [i.candidate.item_id for i in choose_diverse(items, 3, Caps(None, None), 0.5)] == ["i0", "i2", "i3"]


def test_without_probabilities_the_first_stages_scores_count():
    """An answer in first-stage order is diverse too."""
    same, other = b"\x7f\0", b"\0\x7f"
    items = [_item(0, None, same), _item(1, None, same), _item(2, None, other)]
    assert [i.candidate.item_id for i in choose_diverse(items, 2, Caps(None, None), 0.5)] == ["i0", "i2"]


def test_diversity_is_one_minus_the_mean_cosine_of_all_pairs():
    """Two equal items and a third at a right angle have a third of the similarity of equal ones."""
    items = [_item(0, 0.5, b"\x7f\0"), _item(1, 0.5, b"\x01\0"), _item(2, 0.5, b"\0\x7f")]
    assert intra_list_diversity(items) == pytest.approx(1 - 1 / 3)
    assert intra_list_diversity([*items, _item(3, 0.5)]) == pytest.approx(1 - 1 / 3)
    assert intra_list_diversity(items[:1]) is None
