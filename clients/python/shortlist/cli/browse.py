"""``similar`` and ``related``: what a shop's pages ask, from a shell."""

from __future__ import annotations

import argparse
from typing import Any

from shortlist.cli.ask import add_filter_options, ids, where
from shortlist.cli.connecting import connect, options
from shortlist.cli.table import print_table
from shortlist.client import RelatedItems


def add_commands(commands: Any) -> None:
    """Add the commands to a parser."""
    parent = options()
    similar = commands.add_parser("similar", parents=[parent], help="find items near an item")
    similar.set_defaults(run=_similar)
    similar.add_argument("item", help="the item")

    related = commands.add_parser("related", parents=[parent], help="find items that complete a cart")
    related.set_defaults(run=_related)
    related.add_argument("items", nargs="+", help="the items of the cart")

    for command in (similar, related):
        add_filter_options(command)
        command.add_argument("--exclude", default="", help="item ids with commas between that are left out")
        command.add_argument("--explain", action="store_true", help="print the reasons")


def _similar(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print_items(client.similar_items(arguments.item, **_wanted(arguments)), explain=arguments.explain)
    return 0


def _related(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        answer = client.related_to_cart(arguments.items, **_wanted(arguments))
    _print_items(answer, explain=arguments.explain)
    if answer.ignored_items:
        print(f"note: {answer.ignored_items} items of the cart are not in the release")
    return 0


def _wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "where": where(arguments),
        "exclude": ids(arguments.exclude),
        "limit": arguments.limit,
        "explain": arguments.explain,
    }


def _print_items(answer: RelatedItems, *, explain: bool) -> None:
    header = ["#", "item", "title", "brand", "price", "found by", *(["why"] if explain else [])]
    rows = [
        [
            str(place),
            item.item_id,
            item.title,
            item.brand,
            "" if item.price is None else f"{item.price:.2f}",
            ", ".join(item.sources),
            *(["; ".join(item.reasons)] if explain else []),
        ]
        for place, item in enumerate(answer, 1)
    ]
    print_table(header, rows, right={0, 4})
    print(f"{len(answer)} items of release {answer.release_id or '-'}; request {answer.request_id or '-'}")
