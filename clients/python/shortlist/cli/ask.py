"""``recommend``, ``record`` and ``forget``: what callers do, from a shell."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from google.protobuf.json_format import MessageToJson
from shortlist.cli.connecting import connect, options
from shortlist.cli.table import print_table
from shortlist.client import Event, Filter, Policy, Recommendations, all_of, match, price_range
from shortlist.client.requests import Kind, Stages
from shortlist.gateway.v1 import gateway_pb2


def add_commands(commands: Any) -> None:
    """Add the commands to a parser."""
    parent = options()
    recommend = commands.add_parser("recommend", parents=[parent], help="ask a gateway for recommendations")
    recommend.set_defaults(run=_recommend)
    recommend.add_argument("--user", default="", help="the user, whose recorded events are the history")
    recommend.add_argument("--query", default="", help="what the user searches for")
    recommend.add_argument("--keep-query", action="store_true", help="leave the query's spelling as it is")
    recommend.add_argument("--history", default="", help="item ids with commas between, oldest first")
    add_filter_options(recommend)
    recommend.add_argument("--min-probability", type=float, help="items below are left out")
    recommend.add_argument("--block", default="", help="item ids with commas between that are left out")
    recommend.add_argument("--max-per-brand", type=int, help="most items of one brand")
    recommend.add_argument("--max-per-category", type=int, help="most items of one category")
    recommend.add_argument("--exclude-history", action="store_true", help="leave out items of the history")
    recommend.add_argument("--exclude-purchased", action="store_true", help="leave out what the user bought")
    recommend.add_argument("--placement", default="", help="where the items are shown, for rules")
    recommend.add_argument("--country", default="", help="the user's country, such as DE, for rules")
    recommend.add_argument("--diversity", type=float, help="how much the items should differ, 0 to 1")
    recommend.add_argument("--min-long-tail-share", type=float, help="least share of items that sell little, 0 to 1")
    recommend.add_argument("--min-new-item-share", type=float, help="least share of items added lately, 0 to 1")
    recommend.add_argument("--stages", choices=get_args(Stages), default="both", help="which stages select")
    add_reason_options(recommend)
    recommend.add_argument("--json", action="store_true", help="print the whole answer as JSON")

    record = commands.add_parser("record", parents=[parent], help="record what users did")
    record.set_defaults(run=_record)
    record.add_argument("--user", default="", help="the user")
    record.add_argument("--kind", choices=get_args(Kind), default="purchase", help="what happened (%(default)s)")
    record.add_argument("--item", default="", help="the item")
    record.add_argument("--query", default="", help="what was searched for, with --kind search")
    record.add_argument("--value", type=float, help="rating or value")
    record.add_argument("--event-id", help="the event's id (default: made)")
    record.add_argument(
        "--file",
        help="JSON lines with user_id, kind, item_id, query, value, event_id and occurred_at, with a time zone; "
        "- for standard input",
    )

    forget = commands.add_parser("forget", parents=[parent], help="erase a user's profile and events")
    forget.set_defaults(run=_forget)
    forget.add_argument("user", help="the user")


def add_filter_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say which items, and how many."""
    command.add_argument("--limit", type=int, help="how many (default 10)")
    add_item_filter(command)


def add_item_filter(command: argparse.ArgumentParser) -> None:
    """Add the options of which `where` makes a filter."""
    command.add_argument(
        "--where", action="append", default=[], metavar="ATTRIBUTE=VALUE", help="only such items; may be repeated"
    )
    command.add_argument("--min-price", type=float, help="lowest price")
    command.add_argument("--max-price", type=float, help="highest price")


def _recommend(arguments: argparse.Namespace) -> int:
    policy = Policy(
        min_probability=arguments.min_probability,
        blocked_item_ids=ids(arguments.block),
        max_per_brand=arguments.max_per_brand,
        max_per_category=arguments.max_per_category,
        exclude_history=arguments.exclude_history,
        exclude_purchased=arguments.exclude_purchased,
        stages=arguments.stages,
        diversity=arguments.diversity,
        min_long_tail_share=arguments.min_long_tail_share,
        min_new_item_share=arguments.min_new_item_share,
    )
    with connect(arguments) as client:
        answer = client.recommend(
            user_id=arguments.user,
            query=arguments.query,
            history=ids(arguments.history),
            where=where(arguments),
            limit=arguments.limit,
            policy=policy,
            explain=arguments.explain,
            keep_query=arguments.keep_query,
            placement=arguments.placement,
            country=arguments.country,
            language=arguments.language,
        )
    if arguments.json:
        print(MessageToJson(answer.message, preserving_proto_field_name=True, ensure_ascii=False))
    else:
        _print_answer(answer, explain=arguments.explain)
        print_language(arguments.language, answer.language)
    return 0


def _print_answer(answer: Recommendations, *, explain: bool) -> None:
    header = ["#", "item", "title", "brand", "price", "probability", *(["why"] if explain else [])]
    rows = [
        [
            str(place),
            item.item_id,
            item.title,
            item.brand,
            "" if item.price is None else f"{item.price:.2f}",
            "" if item.probability is None else f"{item.probability:.4f}",
            *([" ".join(item.reasons)] if explain else []),
        ]
        for place, item in enumerate(answer, 1)
    ]
    if answer.corrected_query:
        print(f"showing results for “{answer.corrected_query}”; --keep-query searches for what was typed")
    print_table(header, rows, right={0, 4, 5})
    timings = answer.message.timings
    print(
        f"{len(answer)} items of release {answer.release_id or '-'} in {timings.total_ms:.1f} ms "
        f"(profile {timings.profile_ms:.1f}, retrieval {timings.retrieval_ms:.1f}, "
        f"ranking {timings.ranking_ms:.1f}, policy {timings.policy_ms:.1f}); request {answer.request_id or '-'}"
    )
    if answer.message.ignored_history_items:
        print(f"note: {answer.message.ignored_history_items} items of the history are not in the release")
    for step in answer.message.policy_steps:
        effect = gateway_pb2.PolicyEffect.Name(step.effect).removeprefix("POLICY_EFFECT_").lower()
        print(f"rule {step.rule_id}: {effect} {step.item_id}" + (f" at {step.position}" if step.position else ""))
    for degradation in answer.degradations:
        print(f"degraded: {degradation.kind}: {degradation.detail}")


def add_reason_options(command: argparse.ArgumentParser) -> None:
    """Add `--explain` and `--language` to a command."""
    command.add_argument("--explain", action="store_true", help="print the reasons")
    command.add_argument("--language", default="", help="language of the reasons, en or zh")


def print_language(wanted: str, used: str) -> None:
    """Say if the reasons are in another language than the one wanted."""
    if wanted and used and not wanted.lower().startswith(used):
        print(f"note: there are no reasons in {wanted!r}; they are in {used!r}")


def where(arguments: argparse.Namespace) -> Filter | None:
    """Return the filter of the options `--where`, `--min-price` and `--max-price`; raises ValueError."""
    filters = []
    for text in arguments.where:
        attribute, equals, value = text.partition("=")
        if not equals or not attribute:
            raise ValueError(f"--where {text!r} is not ATTRIBUTE=VALUE, such as brand=Acme")
        filters.append(match(attribute, value))
    if arguments.min_price is not None or arguments.max_price is not None:
        filters.append(price_range(arguments.min_price, arguments.max_price))
    return all_of(*filters) if filters else None


def _record(arguments: argparse.Namespace) -> int:
    if arguments.file is None and not arguments.user:
        raise ValueError("pass --user and --item, or --file")
    with connect(arguments) as client:
        # All of a file is read first, so that a bad line leaves nothing recorded.
        answer = client.record(list(_lines(arguments.file)) if arguments.file else [_event_of(arguments)])
    print(f"recorded {answer.recorded} events; {answer.duplicates} were known by their id")
    return 0


def _event_of(arguments: argparse.Namespace) -> Event:
    identity = {"event_id": arguments.event_id} if arguments.event_id else {}
    return Event(arguments.user, arguments.kind, arguments.item, arguments.query, arguments.value, **identity)


def _lines(file: str) -> Iterator[Event]:
    """Yield the events of JSON lines; raises ValueError with the line's number."""
    with sys.stdin if file == "-" else Path(file).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield _event(json.loads(line))
                except (ValueError, TypeError, AttributeError) as error:
                    raise ValueError(f"{file}, line {number}: {error}: {line.strip()[:200]}") from error


def _event(fields: dict[str, Any]) -> Event:
    occurred_at = fields.pop("occurred_at", None)
    if occurred_at is not None:
        fields["occurred_at"] = datetime.fromisoformat(str(occurred_at).replace("Z", "+00:00"))
    return Event(**fields)


def _forget(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        print(f"erased {client.forget_user(arguments.user)} events of {arguments.user}")
    return 0


def ids(text: str) -> list[str]:
    """Return the ids of a text with commas between them."""
    return [part.strip() for part in text.split(",") if part.strip()]
