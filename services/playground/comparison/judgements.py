"""Votes: judged searches that the pipeline reads, and which of two answers was better."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from common.errors import InvalidRequest
from services.playground.gateways.request import AskedRequest, ItemId

JUDGEMENTS: Final = "judgements.jsonl"
VOTES: Final = "votes.jsonl"
MAX_GRADE: Final = 3
Query = Annotated[str, StringConstraints(min_length=1, max_length=1_000, strip_whitespace=True)]


class Judgement(BaseModel):
    """How well an item answers a search; the fields are the columns of the dataset's judgements.

    Attributes:
        query: The search.
        item_id: The item.
        relevance: 0 for not at all, 3 for exactly; None takes the judgement back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: Query
    item_id: ItemId
    relevance: Annotated[int, Field(ge=0, le=MAX_GRADE)] | None


class Vote(BaseModel):
    """Which of two answers was better for one user or search.

    Attributes:
        left: The left request.
        right: The right request.
        winner: The better one.
        user: The user's name in the list of users; empty if there was none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    left: AskedRequest
    right: AskedRequest
    winner: Literal["left", "right", "tie"]
    user: str = ""


class Judgements:
    """Keeps judgements and votes in two files of a folder; a file is replaced as a whole, so it is never half written.

    Args:
        folder: The folder, made if it does not exist.

    Raises:
        InvalidRequest: A file in it cannot be read; the message names the line.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._judgements = {
            (row["query"], row["item_id"]): row["relevance"]
            for row in _read(folder / JUDGEMENTS, ("query", "item_id", "relevance"))
        }
        # The latest vote on the same pair of requests counts.
        self._votes = {_pair(row): row for row in _read(folder / VOTES, ("left", "right", "winner"))}

    def judge(self, judgement: Judgement) -> None:
        """Keep a judgement in place of the earlier one of the same search and item."""
        key = (judgement.query, judgement.item_id)
        changed = {name: grade for name, grade in self._judgements.items() if name != key}
        if judgement.relevance is not None:
            changed[key] = judgement.relevance
        rows = [{"query": query, "item_id": item_id, "relevance": grade} for (query, item_id), grade in changed.items()]
        _replace(self._folder / JUDGEMENTS, rows)
        self._judgements = changed

    def vote(self, vote: Vote) -> None:
        """Keep a vote in place of the earlier one on the same pair of requests."""
        row = vote.model_dump(mode="json")
        changed = {**self._votes, _pair(row): row}
        _replace(self._folder / VOTES, list(changed.values()))
        self._votes = changed

    def grades(self, query: str) -> Mapping[str, int]:
        """Return the grades of a search by item."""
        return {item: grade for (judged, item), grade in self._judgements.items() if judged == query.strip()}

    def wins(self) -> Mapping[str, int]:
        """Return how often `left`, `right` and `tie` were voted."""
        counts = Counter(row["winner"] for row in self._votes.values())
        return {winner: counts[winner] for winner in ("left", "right", "tie")}

    def count(self) -> int:
        """Return the number of judgements."""
        return len(self._judgements)


def _pair(row: Mapping[str, Any]) -> str:
    return json.dumps([row["left"], row["right"]], sort_keys=True)


def _read(file: Path, names: tuple[str, ...]) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    rows = []
    # Not splitlines: a search may hold characters that it takes for ends of lines.
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        try:
            row = json.loads(line)
            rows.append({**row, **{name: row[name] for name in names}})
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequest(f"{file}, line {number}: not an object with {', '.join(names)}") from error
    return rows


def _replace(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write a file and put it in place of the old one, durably."""
    draft = file.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        lines.flush()
        os.fsync(lines.fileno())
    draft.replace(file)
