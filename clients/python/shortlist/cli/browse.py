"""``similar``, ``related``, ``complete`` and ``facets``: what a shop's pages ask, from a shell."""

from __future__ import annotations

import argparse
from typing import Any

from shortlist.cli.ask import add_filter_options, add_item_filter, add_reason_options, ids, print_language, where
from shortlist.cli.connecting import connect, options
from shortlist.cli.table import print_table
from shortlist.client import RelatedItems
from shortlist.retrieval.v1 import retrieval_pb2


def add_commands(commands: Any) -> None:
    """Add the commands to a parser."""
    parent = options()
    similar = commands.add_parser("similar", parents=[parent], help="find items near an item")
    similar.set_defaults(run=_similar)
    similar.add_argument("item", help="the item")

    related = commands.add_parser("related", parents=[parent], help="find items that complete a cart")
    related.set_defaults(run=_related)
    related.add_argument("items", nargs="+", help="the items of the cart")

    complete = commands.add_parser("complete", parents=[parent], help="complete what a user types")
    complete.set_defaults(run=_complete)
    complete.add_argument("text", help="what the user has typed")
    complete.add_argument("--limit", type=int, help="how many suggestions (default 10)")

    facets = commands.add_parser("facets", parents=[parent], help="count the values of attributes")
    facets.set_defaults(run=_facets)
    facets.add_argument("attributes", nargs="*", help="the attributes (default all)")
    facets.add_argument("--query", default="", help="count over the candidates of a query instead of all items")
    add_item_filter(facets)
    facets.add_argument("--max-values", type=int, help="most values of an attribute (default 10)")
    facets.add_argument("--max-buckets", type=int, help="most buckets of a numeric attribute (default 5)")

    for command in (similar, related):
        add_filter_options(command)
        command.add_argument("--exclude", default="", help="item ids with commas between that are left out")
        add_reason_options(command)
        command.add_argument("--country", default="", help="the user's country, such as DE, for rules")
        command.add_argument("--placement", default="", help="where the items are shown, for rules")


def _similar(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        answer = client.similar_items(arguments.item, **_wanted(arguments))
    _print_items(answer, explain=arguments.explain)
    print_language(arguments.language, answer.language)
    return 0


def _related(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        answer = client.related_to_cart(arguments.items, **_wanted(arguments))
    _print_items(answer, explain=arguments.explain)
    print_language(arguments.language, answer.language)
    if answer.ignored_items:
        print(f"note: {answer.ignored_items} items of the cart are not in the release")
    return 0


def _complete(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        answer = client.complete(arguments.text, limit=arguments.limit)
    rows = [
        [each.text, each.kind, each.item_id, f"{each.popularity:.2f}", str(each.corrected_words)] for each in answer
    ]
    print_table(["suggestion", "kind", "item", "popularity", "corrected"], rows, right={3, 4})
    return 0


def _facets(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        answer = client.list_facets(
            arguments.attributes,
            query=arguments.query,
            where=where(arguments),
            max_values=arguments.max_values,
            max_buckets=arguments.max_buckets,
        )
    rows = []
    for facet in answer.facets:
        rows += [[facet.attribute, each.value, f"{each.items:,}"] for each in facet.values]
        rows += [[facet.attribute, f"{each.min:g} to {each.max:g}", f"{each.items:,}"] for each in facet.buckets]
        others = {"(other values)": facet.other_items, "(none)": facet.missing_items}
        rows += [[facet.attribute, name, f"{items:,}"] for name, items in others.items() if items]
    print_table(["attribute", "value", "items"], rows, right={2})
    of_candidates = answer.scope == retrieval_pb2.FACET_SCOPE_CANDIDATES
    counted = f"{answer.items:,} {'candidates of the query' if of_candidates else 'items that match'}"
    print(f"counted over {counted}, release {answer.release_id or '-'}; request {answer.request_id or '-'}")
    return 0


def _wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "where": where(arguments),
        "exclude": ids(arguments.exclude),
        "limit": arguments.limit,
        "explain": arguments.explain,
        "country": arguments.country,
        "placement": arguments.placement,
        "language": arguments.language,
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
    for each in answer.degradations:
        print(f"degraded: {each.kind}: {each.detail}")
