"""What the gateway's policy chooses of candidates that are known by id, tail and probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.policy.policy import Policy, apply_policy


def chosen(
    item_ids: Sequence[str],
    tail: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.floating[Any]],
    policy: Policy,
) -> npt.NDArray[np.int64]:
    """Return the places of the candidates that the policy chooses, the most probable first.

    Args:
        item_ids: The candidates, by their order where probabilities do not tell them apart.
        tail: Whether each is of the long tail; shape [items].
        probability: NaN where there is none; shape [items].
        policy: The policy.
    """
    told = zip(item_ids, tail.tolist(), probability.tolist(), strict=True)
    items = [
        RankedCandidate(Candidate(item_id, 0.0, long_tail=of_tail), place, None if np.isnan(value) else value)
        for place, (item_id, of_tail, value) in enumerate(told)
    ]
    items.sort(key=lambda item: -(item.probability or 0.0))
    return np.array([item.first_stage_rank for item in apply_policy(items, policy).items], np.int64)
