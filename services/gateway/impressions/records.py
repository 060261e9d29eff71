"""What the log of impressions holds: one JSON object a line, of an answer or of an event.

``docs/experiments.md`` lists the fields. A user is a pseudonym, as in the profiles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.gateway.experiments.experiments import ShownVariant
from services.gateway.profiles.profile_store import Event
from services.gateway.profiles.pseudonyms import Pseudonyms
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import RecommendResult

# Of a history, the latest items are written: enough to ask another release the same, and a bound on the line.
MAX_HISTORY: Final = 100


@dataclass(frozen=True)
class Impression:
    """An answer as it was shown. It holds what is written alone: thousands may wait for a slow disk.

    Attributes:
        user_id: The user; empty without one.
        fields: The fields of the line, but for the user.
    """

    user_id: str
    fields: dict[str, Any]

    @classmethod
    def of(
        cls,
        request: RecommendRequest,
        result: RecommendResult,
        request_id: str,
        at_us: int,
        variants: Sequence[ShownVariant] = (),
    ) -> Impression:
        """Return the record of an answer.

        Args:
            request: The request.
            result: The answer.
            request_id: The request's id.
            at_us: When, in microseconds since 1970, UTC.
            variants: The variants that the user was assigned.
        """
        user = result.user
        fields = {
            "request_id": request_id,
            "at_us": at_us,
            "release": result.release_id,
            "placement": request.placement,
            "stages": str(request.stages),
            "occasion": _occasion(bool(user.query), bool(user.history)),
            "variants": [list(each) for each in variants],
            "query": user.query,
            "history": list(user.history[-MAX_HISTORY:]),
            "history_kinds": [int(kind) for kind in user.history_kinds[-MAX_HISTORY:]],
            "history_ages_s": [_finite(age_s) for age_s in user.history_ages_s[-MAX_HISTORY:]],
            "filtered": request.filter is not None,
            "items": [item.candidate.item_id for item in result.items],
            "scores": [_score(item.probability, item.candidate.score) for item in result.items],
            "propensities": [float(f"{each:.9g}") for each in result.propensities],
            "pool": list(result.pool),
            "degradations": [str(each.kind) for each in result.degradations],
            "total_ms": round(result.timings_ms.get("total", 0.0), 3),
        }
        return cls(request.user_id, fields)

    def line(self, pseudonyms: Pseudonyms) -> str:
        """Return the line of the log, with its end."""
        user = pseudonyms.of_user(self.user_id) if self.user_id else ""
        return _line(type="impression", user=user, **self.fields)


@dataclass(frozen=True)
class RecordedEvent:
    """An event that the profiles have recorded."""

    event: Event

    def line(self, pseudonyms: Pseudonyms) -> str:
        """Return the line of the log, with its end."""
        event = self.event
        return _line(
            type="event",
            event=pseudonyms.of_event(event.event_id),
            request_id=event.request_id,
            at_us=event.occurred_at_us,
            user=pseudonyms.of_user(event.user_id),
            kind=event.kind.word,
            item=event.item_id,
            query=event.query,
            value=event.value,
        )


def _line(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n"


def _occasion(query: bool, history: bool) -> str:
    if query:
        return "both" if history else "query"
    return "history" if history else "new_user"


def _score(probability: float | None, first_stage_score: float) -> float | None:
    return _finite(float(f"{first_stage_score if probability is None else probability:.6g}"))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
