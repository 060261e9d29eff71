"""Two requests compared over many users."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from services.playground.comparison.overlap import mean, moves
from services.playground.comparison.users import User
from services.playground.gateways.gateways import Gateways
from services.playground.gateways.request import MAX_HISTORY, AskedRequest

MAX_USERS: Final = 100
# A gateway answers its own callers too.
_CONCURRENT: Final = 2


async def compare_users(
    gateways: Gateways, left: AskedRequest, right: AskedRequest, users: Sequence[User]
) -> dict[str, Any]:
    """Ask two requests for every user, with the user's history in place of the requests' own.

    Returns:
        `rows`: of each user `user_id`, `rbo`, `overlap`, `left` and `right` (number of items), or `failure`, the most
        different first and failures last; `mean_rbo` and `mean_overlap` over the answered; `failed`: how many were not.

    Raises:
        UnknownGateway: There is no such gateway.
    """
    room = asyncio.Semaphore(_CONCURRENT)

    async def compare(user: User) -> dict[str, Any]:
        async with room:
            return await _compare(gateways, left, right, user)

    rows = await asyncio.gather(*map(compare, users))
    answered = [row for row in rows if "failure" not in row]
    failed = [row for row in rows if "failure" in row]
    return {
        "rows": sorted(answered, key=lambda row: row["rbo"]) + failed,
        "mean_rbo": mean([row["rbo"] for row in answered]),
        "mean_overlap": mean([row["overlap"] for row in answered]),
        "failed": len(failed),
    }


async def _compare(gateways: Gateways, left: AskedRequest, right: AskedRequest, user: User) -> dict[str, Any]:
    own = {"user_id": "", "history": user.history[-MAX_HISTORY:]}
    answers = await asyncio.gather(
        *(gateways.recommend(side.model_copy(update=own), explain=False) for side in (left, right))
    )
    for answer in answers:
        if "failure" in answer:
            return {"user_id": user.user_id, "failure": answer["failure"]}
    found = moves(answers[0]["items"], answers[1]["items"])
    return {
        "user_id": user.user_id,
        "rbo": found["rbo"],
        "overlap": found["overlap"],
        "left": len(answers[0]["items"]),
        "right": len(answers[1]["items"]),
    }
