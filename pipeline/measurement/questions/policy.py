"""The gateway's policy, applied to candidates that are known by id, long-tail membership and probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.policy.policy import Policy, apply_policy


def select_by_policy(
    item_ids: Sequence[str],
    long_tail: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.floating[Any]],
    policy: Policy,
) -> npt.NDArray[np.int64]:
    """Return the positions of the candidates that the policy selects, the most probable first.

    Args:
        item_ids: The candidates; their order decides between equal probabilities.
        long_tail: Whether each belongs to the long tail; shape [items].
        probability: NaN if there is none; shape [items].
        policy: The policy.
    """
    rows = zip(item_ids, long_tail.tolist(), probability.tolist(), strict=True)
    items = [
        RankedCandidate(Candidate(item_id, 0.0, long_tail=in_tail), position, None if np.isnan(value) else value)
        for position, (item_id, in_tail, value) in enumerate(rows)
    ]
    items.sort(key=lambda item: -(item.probability or 0.0))
    return np.array([item.first_stage_rank for item in apply_policy(items, policy).items], np.int64)
