"""``rules``: the shop's rules: list, put, delete, try."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from shortlist.cli.connecting import connect, options
from shortlist.cli.table import print_table
from shortlist.gateway.v1 import gateway_pb2, rules_pb2


def add_commands(commands: Any) -> None:
    """Add the commands to a parser."""
    parent = options()
    rules = commands.add_parser("rules", help="list, change and try the shop's rules")
    actions = rules.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", parents=[parent], help="list the rules")
    listed.set_defaults(run=_list)
    listed.add_argument("--json", action="store_true", help="print them as JSON, as `put` takes them")
    put = actions.add_parser("put", parents=[parent], help="add rules, or replace those of the same ids")
    put.set_defaults(run=_put)
    put.add_argument("file", help='JSON file with {"rules": […]}; - for standard input')
    put.add_argument("--if-version", type=int, help="change nothing unless the rules have this version")
    delete = actions.add_parser("delete", parents=[parent], help="delete rules")
    delete.set_defaults(run=_delete)
    delete.add_argument("rule", nargs="+", help="ids of rules")
    delete.add_argument("--if-version", type=int, help="change nothing unless the rules have this version")
    tried = actions.add_parser("try", parents=[parent], help="show what rules would change, and change nothing")
    tried.set_defaults(run=_try)
    tried.add_argument("file", nargs="?", help='JSON file with {"rules": […]}; - for standard input')
    tried.add_argument("--delete", action="append", default=[], metavar="RULE", help="a rule to delete")
    tried.add_argument("--user", action="append", default=[], help="a user to answer; may be repeated")
    tried.add_argument("--query", action="append", default=[], help="a search to answer; may be repeated")
    tried.add_argument("--placement", default="", help="placement of these requests")
    tried.add_argument("--country", default="", help="country of these requests")
    tried.add_argument("--limit", type=int, help="items of an answer")


def _list(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        answer = client.list_rules()
    if arguments.json:
        print(MessageToJson(answer, preserving_proto_field_name=True, ensure_ascii=False))
        return 0
    rows = [[rule.rule_id, _word(rule.kind), _scope(rule), _about(rule), rule.note] for rule in answer.rules]
    print_table(["rule", "kind", "for", "about", "note"], rows, right=set())
    print(f"{len(answer.rules)} rules, version {answer.version}")
    return 0


def _put(arguments: argparse.Namespace) -> int:
    rules = _read(arguments.file)
    with connect(arguments) as client:
        print(f"{len(rules)} rules put; version {client.put_rules(rules, if_version=arguments.if_version)}")
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        print(f"{client.delete_rules(arguments.rule, if_version=arguments.if_version)} rules deleted")
    return 0


def _try(arguments: argparse.Namespace) -> int:
    common = {"placement": arguments.placement, "country": arguments.country, "limit": arguments.limit}
    requests = [gateway_pb2.RecommendRequest(user_id=user, **common) for user in arguments.user]
    requests += [gateway_pb2.RecommendRequest(query=query, **common) for query in arguments.query]
    with connect(arguments) as client:
        answer = client.try_rules(
            _read(arguments.file) if arguments.file else (), delete=arguments.delete, requests=requests
        )
    for number, tried in enumerate(answer.requests, 1):
        print(f"request {number}: {_difference(tried)}")
    rows = [[each.rule_id, _effect(each.effect), str(each.count)] for each in answer.effects]
    print_table(["rule", "effect", "items"], rows, right={2})
    print(f"{answer.changed_requests} of {len(answer.requests)} requests would change; nothing was changed")
    return 0


def _read(file: str) -> list[rules_pb2.Rule]:
    """Return the rules of a JSON file; raises ValueError, naming it, if it has no rules."""
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    try:
        rules = Parse(text, rules_pb2.PutRulesRequest()).rules
    except ParseError as error:
        raise ValueError(f"{file}: {error}") from error
    return list(rules)


def _difference(tried: rules_pb2.TriedRequest) -> str:
    before, after = tried.item_ids_before, tried.item_ids_after
    if list(before) == list(after):
        return "no change"
    gone, come = Counter(before) - Counter(after), Counter(after) - Counter(before)
    parts = [f"without {', '.join(gone)}" if gone else "", f"with {', '.join(come)}" if come else ""]
    return "; ".join(part for part in parts if part) or "another order"


def _scope(rule: rules_pb2.Rule) -> str:
    parts = [*rule.countries, *rule.placements]
    parts += [f"from {rule.starts_at.ToJsonString()}"] if rule.HasField("starts_at") else []
    parts += [f"until {rule.ends_at.ToJsonString()}"] if rule.HasField("ends_at") else []
    return ("disabled " if rule.disabled else "") + (" ".join(parts) or "all")


def _about(rule: rules_pb2.Rule) -> str:
    items, parts = rule.items, []
    for name in ("item_ids", "brands", "categories", "words"):
        values = list(getattr(items, name))
        if values:
            parts.append(f"{name} {', '.join(values[:3])}" + (f" and {len(values) - 3} more" if values[3:] else ""))
    parts += ["a filter"] if items.HasField("where") else []
    parts += [f"slot {rule.slot}"] if rule.slot else []
    parts += [f"factor {rule.factor:g}"] if rule.factor else []
    parts += [f"probability {rule.min_probability:g}"] if rule.min_probability else []
    return "; ".join(parts)


def _word(kind: Any) -> str:
    return rules_pb2.RuleKind.Name(kind).removeprefix("RULE_KIND_").lower()


def _effect(effect: Any) -> str:
    return gateway_pb2.PolicyEffect.Name(effect).removeprefix("POLICY_EFFECT_").lower()
