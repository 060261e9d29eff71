"""The rules of a store, followed and changed by several gateways."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from common.errors import NotReady
from services.gateway.profiles.profile_store import Document, ProfileStoreUnavailable
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind
from services.gateway.rules.rule_book import RuleBook, RulesChanged


class _Store:
    """A document in memory, or an error."""

    def __init__(self) -> None:
        self.document = Document()
        self.fails = False
        self.reads = 0

    async def read_document(self, name: str, known_version: int = -1) -> Document | None:
        assert name == "rules"
        if self.fails:
            raise ProfileStoreUnavailable("down")
        self.reads += self.document.version != known_version
        return None if self.document.version == known_version else self.document

    async def write_document(self, name: str, content: bytes, expected_version: int) -> int | None:
        if name != "rules" or self.document.version != expected_version:
            return None
        self.document = Document(expected_version + 1, content)
        return expected_version + 1


def _encode(rules: Sequence[Rule]) -> bytes:
    return ",".join(rule.rule_id for rule in rules).encode()


def _decode(content: bytes) -> Sequence[Rule]:
    return [_rule(name) for name in content.decode().split(",") if name]


def _rule(rule_id: str) -> Rule:
    return Rule(rule_id, RuleKind.BLOCK, ItemSelection(item_ids=("a",)))


def _book(store: _Store) -> RuleBook:
    return RuleBook(store, _encode, _decode)


async def test_each_gateway_follows_the_changes_of_others():
    """A change by one is read by the other; without a change nothing is read."""
    store = _Store()
    one, other = _book(store), _book(store)
    await other.refresh()
    assert (other.is_read, other.current.version) == (True, 0)
    await one.put([_rule("x")])
    await other.refresh()
    assert (list(other.current.rules), other.current.version) == (["x"], 1)
    reads = store.reads
    await other.refresh()
    assert store.reads == reads


async def test_changes_of_two_gateways_do_not_undo_each_other():
    """A change is made to the rules that the store has, whatever this gateway knew."""
    store = _Store()
    one, other = _book(store), _book(store)
    await one.put([_rule("x")])
    await other.put([_rule("y")])
    await one.delete(["x"])
    await other.refresh()
    assert (list(other.current.rules), other.current.version) == (["y"], 3)
    assert (await one.delete(["unknown"])).version == 3


async def test_another_version_refuses_the_change():
    """Nothing is written."""
    store = _Store()
    book = _book(store)
    await book.put([_rule("x")])
    with pytest.raises(RulesChanged, match="version 1, not 0"):
        await book.put([_rule("y")], if_version=0)
    assert store.document == Document(1, b"x")


async def test_while_the_store_is_down_the_rules_stay():
    """Earlier rules are applied, and a change is refused."""
    store = _Store()
    book = _book(store)
    await book.put([_rule("x")])
    store.fails = True
    assert not await book.refresh()
    assert list(book.current.rules) == ["x"]
    with pytest.raises(NotReady, match="cannot be read"):
        await book.put([_rule("y")])


async def test_rules_that_cannot_be_read_leave_the_earlier_ones():
    """What a later version wrote is not half applied."""
    store = _Store()
    book = RuleBook(store, _encode, lambda _: (_ for _ in ()).throw(ValueError("unknown kind")))
    assert (await book.refresh(), book.is_read) == (False, False)
