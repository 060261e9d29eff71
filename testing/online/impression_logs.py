"""Logs of impressions as a gateway writes them, for tests and simulations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

START_US: Final = 1_767_225_600_000_000  # the first of January 2026


def answer_record(request_id: str, items: Sequence[str], **fields: Any) -> dict[str, Any]:
    """Return the record of an answer, by default without a user and without random positions."""
    return {
        "type": "impression",
        "request_id": request_id,
        "at_us": START_US,
        "user": "",
        "release": "r1",
        "placement": "",
        "stages": "both",
        "occasion": "new_user",
        "variants": [],
        "query": "",
        "history": [],
        "history_kinds": [],
        "history_ages_s": [],
        "filtered": False,
        "items": list(items),
        "scores": [0.5] * len(items),
        "propensities": [],
        "pool": [],
        "degradations": [],
        "total_ms": 1.0,
        **fields,
    }


def event_record(event: str, item: str, **fields: Any) -> dict[str, Any]:
    """Return the record of an event; by default a view by the user `u` that follows from no answer."""
    return {
        "type": "event",
        "event": event,
        "request_id": "",
        "at_us": START_US + 1,
        "user": "u",
        "kind": "view",
        "item": item,
        "query": "",
        "value": None,
        **fields,
    }


def write_log(folder: Path, records: Iterable[dict[str, Any]], number: int = 1) -> Path:
    """Write records as one file of a log, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    (folder / f"shown-{START_US:016d}-{number:06d}.jsonl").write_text(lines)
    return folder
