"""The texts of changed items, read page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change import Change
from services.retrieval.changes.text_log import MAX_TEXTS, TextLog


def _change(texts: dict[str, str], deleted: Sequence[str] = ()) -> Change:
    items = tuple(Item(item_id, title) for item_id, title in texts.items())
    return Change(items, np.zeros((len(items), 2), np.float32), "encoder", tuple(deleted))


class _Follower:
    """Reads a log as a service does."""

    def __init__(self) -> None:
        self.log_id, self.position = "", 0
        self.texts: dict[str, str] = {}

    def follow(self, log: TextLog) -> None:
        """Read until there is no more."""
        while True:
            page = log.read(self.log_id, self.position)
            assert len(page.texts) <= MAX_TEXTS
            if page.log_id != self.log_id:
                self.texts = {}
            for item_id, text in page.texts:
                self.texts.pop(item_id, None)
                if text is not None:
                    self.texts[item_id] = text
            self.log_id, self.position = page.log_id, page.position
            if not page.more:
                return


_STEPS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz"), max_size=3), st.booleans()), max_size=12
)


@given(_STEPS)
def test_a_follower_knows_the_last_texts_whenever_it_reads(steps: list[tuple[dict[str, str], bool]]):
    """Upserts and deletions in any order, with reads in between or not."""
    log, follower, expected = TextLog(), _Follower(), dict[str, str]()
    for texts, reads in steps:
        deleted = [item_id for item_id in "abcd" if item_id in expected and item_id not in texts][:1]
        log.apply(_change(texts, deleted))
        expected = {item_id: text for item_id, text in {**expected, **texts}.items() if item_id not in deleted}
        if reads:
            follower.follow(log)
            assert follower.texts == expected
    follower.follow(log)
    assert follower.texts == expected


def test_many_texts_come_in_pages():
    """Each item once, in the order of the last changes; an item that changes between two pages comes again."""
    log, follower = TextLog(), _Follower()
    log.apply(_change({str(number): "old" for number in range(2 * MAX_TEXTS + 1)}))
    first = log.read("", 0)
    log.apply(_change({"0": "new"}))
    second = log.read(first.log_id, first.position)
    third = log.read(second.log_id, second.position)
    assert [len(page.texts) for page in (first, second, third)] == [MAX_TEXTS, MAX_TEXTS, 2]
    assert [page.more for page in (first, second, third)] == [True, True, False]
    assert third.texts == [(str(2 * MAX_TEXTS), "old"), ("0", "new")]
    follower.follow(log)
    assert len(follower.texts) == 2 * MAX_TEXTS + 1


def test_the_position_of_another_log_is_the_beginning():
    """After a restart the log is another one, and is read as a whole."""
    log = TextLog()
    log.apply(_change({"a": "x"}))
    assert log.read("another", 7).texts == [("a", "x")]
    assert log.read(log.read("", 0).log_id, 1).texts == []


async def test_a_reader_waits_for_the_next_change():
    """A change from another thread ends the wait at once; without one the answer is empty in the end."""
    log = TextLog()
    log_id, position, *_ = log.read("", 0)
    waiting = asyncio.create_task(log.read_or_wait(log_id, position, 60.0))
    await asyncio.sleep(0)  # lets the reader begin
    assert log._waiting
    await asyncio.to_thread(log.apply, _change({"a": "x"}))
    async with asyncio.timeout(20):
        page = await waiting
    assert page.texts == [("a", "x")]
    assert (await log.read_or_wait(log_id, page.position, 0.001)).texts == []
    assert not log._waiting


@pytest.mark.parametrize("log_id", ["", "another"])
async def test_who_begins_does_not_wait(log_id: str):
    """The first answer comes at once, also if there is nothing, so that a start is not held up."""
    async with asyncio.timeout(20):
        page = await TextLog().read_or_wait(log_id, 0, 60.0)
    assert page.texts == []
