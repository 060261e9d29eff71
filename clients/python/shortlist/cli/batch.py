"""``batch``: recommendations for many users, from a file into a file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from shortlist.cli.connecting import connect, options
from shortlist.client import BatchAnswer, BatchRequest


def add_commands(commands: Any) -> None:
    """Add the command to a parser."""
    batch = commands.add_parser(
        "batch",
        parents=[options()],
        help="recommend items to many users, from a file into a file",
        description="Requests that --out answers already are left out: after a broken run, run the same again.",
    )
    batch.set_defaults(run=_batch)
    batch.add_argument(
        "file",
        type=Path,
        help="a user a line; or JSON lines with user_id, query, history, limit, and an id if it is not the user's",
    )
    batch.add_argument("--out", type=Path, required=True, help="JSON lines with the answers, added at the end")
    batch.add_argument("--limit", type=int, help="how many items, where a line does not say (default 10)")
    batch.add_argument("--batch-timeout-s", type=float, default=3_600.0, help="time of all (default %(default)s)")


def _batch(arguments: argparse.Namespace) -> int:
    # All of the file is read first, so that a bad line is named before anything is asked.
    answered = _answered(arguments.out)
    requests = [each for each in _requests(arguments.file, arguments.limit) if each.id not in answered]
    failed = 0
    with connect(arguments) as client, arguments.out.open("a", buffering=1, encoding="utf-8") as out:
        for answer in client.batch_recommend(requests, timeout_s=arguments.batch_timeout_s):
            out.write(json.dumps(_fields(answer), ensure_ascii=False) + "\n")
            failed += answer.recommendations is None
    print(f"{len(requests) - failed} answered, {failed} failed, {len(answered)} were answered before: {arguments.out}")
    return 1 if failed else 0


def _requests(file: Path, limit: int | None) -> Iterator[BatchRequest]:
    """Yield the requests of a file; raises ValueError with the line's number."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if text:
                try:
                    yield _request(text, limit)
                except (ValueError, TypeError, AttributeError) as error:
                    raise ValueError(f"{file}, line {number}: {error}: {text[:200]}") from error


def _request(text: str, limit: int | None) -> BatchRequest:
    fields = json.loads(text) if text.startswith("{") else {"user_id": text}
    identity = fields.pop("id", None) or fields.get("user_id")
    if not identity:
        raise ValueError("has neither id nor user_id")
    return BatchRequest(str(identity), **{"limit": limit, **fields})


def _answered(out: Path) -> set[str]:
    """Return the ids of requests with an answer; those that failed are asked again."""
    if not out.exists():
        return set()
    with out.open(encoding="utf-8") as lines:
        try:
            return {each["id"] for each in map(json.loads, lines) if "error" not in each}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{out}: has a line that is no answer ({error}); name a new file") from error


def _fields(answer: BatchAnswer) -> dict[str, Any]:
    if answer.recommendations is None:
        return {"id": answer.id, "error": answer.error, "error_code": answer.error_code}
    message = answer.recommendations.message
    return {"id": answer.id, **MessageToDict(message, preserving_proto_field_name=True)}
