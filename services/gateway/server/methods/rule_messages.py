"""Rules as messages, and as the bytes that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from shortlist.gateway.v1 import rules_pb2

from common.errors import InvalidRequest
from common.server.filter_messages import read_filter, write_filter
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind

_KINDS: Final = {rules_pb2.RuleKind.Value(f"RULE_KIND_{kind}"): kind for kind in RuleKind}
_TIMESTAMP_SECONDS: Final = (-62_135_596_800, 253_402_300_799)


def read_rules(messages: Sequence[rules_pb2.Rule]) -> list[Rule]:
    """Return rules as values; raises InvalidRequest, naming the rule, if the form of one is wrong."""
    rules = []
    for number, message in enumerate(messages):
        try:
            rules.append(_read(message))
        except InvalidRequest as error:
            raise InvalidRequest(f"rules[{number}] {message.rule_id[:64]!r}: {error}") from error
    return rules


def write_rule(rule: Rule) -> rules_pb2.Rule:
    """Return a rule as a message."""
    items = rule.items
    return rules_pb2.Rule(
        rule_id=rule.rule_id,
        kind=rules_pb2.RuleKind.Value(f"RULE_KIND_{rule.kind}"),
        note=rule.note,
        disabled=rule.is_disabled,
        countries=sorted(rule.countries),
        placements=sorted(rule.placements),
        starts_at=_timestamp(rule.starts_at_us),
        ends_at=_timestamp(rule.ends_at_us),
        items=rules_pb2.ItemSelection(
            item_ids=items.item_ids,
            brands=items.brands,
            categories=items.categories,
            words=items.phrases,
            where=None if items.where is None else write_filter(items.where),
        )
        if items
        else None,
        slot=rule.slot,
        factor=rule.factor,
        min_probability=rule.min_probability,
        version=rule.version,
    )


def encode_rules(rules: Sequence[Rule]) -> bytes:
    """Return rules as they are stored."""
    return rules_pb2.ListRulesResponse(rules=map(write_rule, rules)).SerializeToString()


def decode_rules(content: bytes) -> Sequence[Rule]:
    """Read stored rules; raises ValueError if they cannot be read, as those of a later version may be."""
    try:
        return read_rules(rules_pb2.ListRulesResponse.FromString(content).rules)
    except (DecodeError, InvalidRequest) as error:
        raise ValueError(f"the stored rules cannot be read: {error}") from error


def _read(message: rules_pb2.Rule) -> Rule:
    if message.kind not in _KINDS:
        raise InvalidRequest("kind: must be set, such as RULE_KIND_BLOCK")
    items = message.items
    return Rule(
        rule_id=message.rule_id,
        kind=_KINDS[message.kind],
        items=ItemSelection(
            tuple(dict.fromkeys(items.item_ids)),
            tuple(dict.fromkeys(items.brands)),
            tuple(dict.fromkeys(items.categories)),
            tuple(dict.fromkeys(items.words)),
            read_filter(items.where, "items.where") if items.HasField("where") else None,
        ),
        note=message.note,
        is_disabled=message.disabled,
        countries=frozenset(message.countries),
        placements=frozenset(message.placements),
        starts_at_us=_time_us(message, "starts_at"),
        ends_at_us=_time_us(message, "ends_at"),
        slot=message.slot,
        factor=message.factor,
        min_probability=message.min_probability,
        version=message.version,
    )


def _time_us(message: rules_pb2.Rule, name: str) -> int | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # the stubs allow only literal names
        return None
    time: Timestamp = getattr(message, name)
    earliest, latest = _TIMESTAMP_SECONDS
    if not earliest <= time.seconds <= latest:
        raise InvalidRequest(f"{name}: must be a time between the years 1 and 9999")
    return time.seconds * 1_000_000 + time.nanos // 1_000


def _timestamp(time_us: int | None) -> Timestamp | None:
    if time_us is None:
        return None
    seconds, micros = divmod(time_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=1_000 * micros)
