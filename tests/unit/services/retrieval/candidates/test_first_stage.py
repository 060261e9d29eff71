"""The first stage over the shop: fused, filtered, filled up, changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.errors import InvalidRequest, NotReady
from common.filters import Match, Range
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.changes.local_feed import LocalFeed
from services.retrieval.encoding.text_encoder import TextEncoder

OpenShop = Callable[..., FirstStage]
NewEncoder = Callable[..., TextEncoder]
EVERYTHING = {"milk-1", "milk-2", "milk-3", "cheese", "bread", "roll", "soap", "sponge"}


def ask(stage: FirstStage, **request: object) -> Candidates:
    """Return the answer to one request."""
    return stage.retrieve([Request(**request)])[0]  # type: ignore[arg-type]


def test_an_answer_says_what_each_source_said(shop: FirstStage):
    """Candidates carry each source's score, sources in alphabetical order, NaN where a source did not find the item."""
    candidates = ask(shop, history_item_ids=["milk-1", "unheard of", "bread"])
    assert candidates.sources == ("behaviour", "popular", "semantic", "similar")
    assert candidates.source_scores.shape == (8, 4)
    roll = candidates.item_ids.index("roll")
    assert np.isnan(candidates.source_scores[roll]).tolist() == [True, True, False, False]
    assert candidates.ignored_history == 1
    assert candidates.search_s > 0
    assert candidates.fuse_s > 0


def test_scores_are_the_weighted_sum(open_shop: OpenShop):
    """The fused score follows the weights of the situation."""
    shop = open_shop(weights={"history": {"behaviour": 2, "popular": 1}})
    candidates = ask(shop, history_item_ids=["bread"])
    scores = dict(zip(candidates.item_ids, candidates.scores.tolist(), strict=True))
    assert scores["cheese"] == pytest.approx(2 + (6 / 9) ** 0.5)
    assert scores["milk-1"] == pytest.approx(2 * 0.25**0.5 + 1)
    assert candidates.item_ids[:3] == ["cheese", "milk-1", "bread"]
    assert sorted(candidates.scores.tolist(), reverse=True) == candidates.scores.tolist()


def test_ties_are_broken_by_item_id(shop: FirstStage):
    """Items of one text have one score and stand in the order of their ids."""
    assert ask(shop, query="fresh milk", sources=["semantic"]).item_ids[:3] == ["milk-1", "milk-2", "milk-3"]


def test_a_small_limit_finds_the_beginning_of_a_large_one(shop: FirstStage):
    """How many are asked for does not change which come first."""
    everything = ask(shop, query="rye", history_item_ids=["soap"]).item_ids
    assert ask(shop, query="rye", history_item_ids=["soap"], limit=3).item_ids == everything[:3]


def test_answers_are_filled_up(shop: FirstStage):
    """What no source found fills the answer, the popular first, below everything that was found."""
    candidates = ask(shop, sources=["behaviour"], history_item_ids=["soap"], limit=4)
    assert candidates.item_ids == ["sponge", "milk-1", "bread", "milk-3"]
    assert candidates.scores.tolist() == [1, -1, -2, -3]
    assert set(ask(shop, sources=["behaviour"]).item_ids) == EVERYTHING


@pytest.mark.parametrize(
    ("condition", "passing"),
    [
        (Match("category", ("bakery",)), {"bread", "roll"}),
        (Match("organic", ("1",)), {"milk-2", "cheese", "roll", "sponge"}),
        (Range("price", 3), {"cheese", "sponge"}),
        (Match("brand", ("nobody",)), set()),
    ],
)
def test_filters_hold_and_never_leave_out(shop: FirstStage, condition: Match | Range, passing: set[str]):
    """Exactly the items that pass are answered, whatever the sources find."""
    for request in ({}, {"query": "milk"}, {"history_item_ids": ["milk-1"]}, {"sources": ["behaviour"]}):
        assert set(ask(shop, filter=condition, **request).item_ids) == passing


def test_everything_excluded(shop: FirstStage):
    """Where all is excluded the answer is empty."""
    assert len(ask(shop, query="milk", history_item_ids=["soap"], exclude_item_ids=sorted(EVERYTHING))) == 0


def test_each_request_is_answered_in_its_place(shop: FirstStage):
    """A call with several requests answers each as if it were alone, and encodes their queries together."""
    requests = [Request(query="milk"), Request(history_item_ids=["soap"]), Request(query="rye"), Request(query=" ")]
    together = [candidates.item_ids for candidates in shop.retrieve(requests)]
    assert shop._artifacts.encoder.batches[0] in (["milk", "rye"], ["milk"])
    assert together == [shop.retrieve([request])[0].item_ids for request in requests]


def test_no_request(shop: FirstStage):
    """No request has no answer."""
    assert shop.retrieve([]) == []


def test_one_query_costs_one_pass(shop: FirstStage):
    """A query is encoded once, however many sources and calls use it."""
    for _ in range(3):
        ask(shop, query="fresh milk", history_item_ids=["soap"])
    assert shop._artifacts.encoder.batches == [["fresh milk"]]


def test_prefixes_are_the_releases(open_shop: OpenShop, feed: ChangeFeed):
    """Queries and items are embedded with the prefixes of the release."""
    shop = open_shop(feed, query_prefix="query: ", item_prefix="passage: ")
    ask(shop, query="  milk ")
    shop.writer.upsert([Item("oats", "oats")])
    assert shop._artifacts.encoder.batches == [["query: milk"], ["passage: oats"]]


def test_long_histories_are_read_from_their_end(open_shop: OpenShop):
    """Only as many of the last steps are read as the release says."""
    shop = open_shop(history_items=1, decay=1.0, sources={"behaviour": {}})
    candidates = ask(shop, history_item_ids=["bread", "bread", "soap"], limit=1)
    assert candidates.item_ids == ["sponge"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"query": "x" * 1_001}, "query: 1,001 characters; at most 1,000"),
        ({"vector": np.ones(3, "f4")}, "vector: 3 numbers; the encoder's embeddings have 24"),
        ({"vector": np.full(24, np.nan, "f4")}, "vector: holds NaN"),
        ({"vector": np.zeros(24, "f4")}, "vector: is all zero"),
        ({"history_item_ids": ["milk-1"] * 10_001}, "history_item_ids: 10,001 given; at most 10,000"),
        ({"history_item_ids": ["milk-1", "é" * 129]}, r"history_item_ids\[1\]: longer than the 256 bytes"),
        ({"exclude_item_ids": ["x"] * 10_001}, "exclude_item_ids: 10,001 given"),
        ({"exclude_item_ids": ["x" * 1_000_000]}, r"exclude_item_ids\[0\]: longer than"),
        ({"limit": 0}, "limit: 0 is not 1 to 1000; leave it unset for 100"),
        ({"limit": 1_001}, "limit: 1001 is not"),
        ({"sources": ["popular", "magic"]}, r"sources\[1\]: no source 'magic'; there are behaviour, popular, semantic"),
        ({"filter": Match("colour", ("red",))}, r"filter\.match\.attribute: the catalogue has no 'colour'"),
    ],
)
def test_requests_past_a_limit_are_refused(shop: FirstStage, request_: dict[str, object], message: str):
    """A request past a limit is refused with the field and the limit, and nothing is searched."""
    with pytest.raises(InvalidRequest, match=message):
        shop.retrieve([Request(), Request(**request_)])  # type: ignore[arg-type]


def test_requests_at_the_limits_are_answered(shop: FirstStage):
    """A request at every limit is answered."""
    ids = ["milk-1"] * 9_999 + ["é" * 128]
    assert len(ask(shop, query="x" * 1_000, history_item_ids=ids, exclude_item_ids=ids, limit=1_000)) == 7


def test_changes_are_visible_at_once_and_durable(open_shop: OpenShop, tmp_path: Path):
    """A change is seen by the next search, and by a first stage that starts later."""
    feed = LocalFeed(tmp_path)
    shop = open_shop(feed)
    assert shop.writer.upsert([Item("oats", "rolled oats"), Item("cheese", "soft cheese", price=8.0)]).inserted == 1
    assert shop.writer.delete(["milk-1", "milk-1", "nothing"]).missing == 1
    assert [item and item.title for item in shop.get_items(["oats", "milk-1", "cheese"])] == [
        "rolled oats",
        None,
        "soft cheese",
    ]
    answer = ask(shop, query="rolled oats").item_ids
    assert set(answer) == EVERYTHING - {"milk-1"} | {"oats"}
    later = open_shop(feed)
    assert later.replayed_changes == 2
    assert ask(later, query="rolled oats").item_ids == answer
    feed.close()


def test_known_texts_and_given_vectors_are_not_embedded(open_shop: OpenShop, feed: ChangeFeed):
    """Only texts that the release does not have are embedded; a given vector is taken, scaled to unit length."""
    shop = open_shop(feed)
    price_alone = Item("soap", "hand soap", "orchard", "household", price=2.0)
    shop.writer.upsert([price_alone, Item("oats", "oats", vector=np.full(24, 7, "f4")), Item("nuts", "nuts")])
    assert shop._artifacts.encoder.batches == [["nuts"]]
    assert ask(shop, vector=np.ones(24, "f4"), sources=["semantic"]).source_scores[0] == pytest.approx(1)
    assert ask(shop, query="hand soap orchard household", sources=["semantic"]).item_ids[0] == "soap"


def test_another_encoder_embeds_again(open_shop: OpenShop, new_encoder: NewEncoder, feed: ChangeFeed):
    """On a release with another encoder the items added before are embedded again from their texts."""
    open_shop(feed).writer.upsert([Item("oats", "rolled oats", vector=np.ones(24, "f4"))])
    encoder = new_encoder(seed=1)
    other = open_shop(feed, encoder)
    assert encoder.batches == [["rolled oats"]]
    assert ask(other, query="rolled oats", sources=["semantic"]).item_ids[0] == "oats"


def test_a_bad_item_changes_nothing(live_shop: FirstStage):
    """Of a call with one bad item nothing is applied."""
    with pytest.raises(InvalidRequest, match=r"items\[1\]\.title"):
        live_shop.writer.upsert([Item("oats", "oats"), Item("nuts", "")])
    assert live_shop.snapshot.version == 0


def test_changes_without_a_place_to_keep_them_are_refused(shop: FirstStage):
    """A first stage without a log refuses changes."""
    with pytest.raises(NotReady, match="--data-dir"):
        shop.writer.upsert([Item("oats", "oats")])
    with pytest.raises(NotReady, match="--data-dir"):
        shop.writer.delete(["soap"])


def test_searches_beside_changes_see_whole_states(live_shop: FirstStage):
    """While items come and go, no search fails, and none sees half of a change."""
    failures: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                answer = set(ask(live_shop, query="oats", filter=Range("price", 0)).item_ids)
                assert len(answer & {"oats-1", "oats-2"}) in (0, 2)
                assert answer >= {"milk-2", "bread"}
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for price in range(40):
        live_shop.writer.upsert([Item(f"oats-{number}", "oats", price=float(price)) for number in (1, 2)])
        live_shop.writer.delete(["oats-1", "oats-2"])
    done.set()
    for reader in readers:
        reader.join()
    assert not failures


def test_depth_bounds_what_sources_draw(open_shop: OpenShop):
    """With a small depth each source draws few items, and the answer is filled up."""
    shop = open_shop(options=FirstStageOptions(depth=1), sources={"semantic": {}})
    candidates = ask(shop, query="hand soap", limit=2)
    assert np.isnan(candidates.source_scores[:, 0]).sum() == 0
    assert len(ask(shop, query="hand soap", limit=8)) == 8


def test_closing_finishes_what_runs(open_shop: OpenShop, feed: ChangeFeed):
    """A change under way when the first stage is closed is finished."""
    shop = open_shop(feed)
    change = shop.writer.pool.submit(shop.writer.upsert, [Item("oats", "oats")])
    shop.close()
    assert change.result().inserted == 1


def test_items_that_cannot_be_bought_are_found_only_on_demand(open_shop: OpenShop, tmp_path: Path):
    """An item that is no longer available is left out, unless the filter speaks of `available`."""
    shop = open_shop(LocalFeed(tmp_path))
    shop.writer.upsert([Item("cheese", "hard cheese", available=False)])
    assert "cheese" not in ask(shop, limit=100).item_ids
    assert ask(shop, limit=100, filter=Match("available", ("false",))).item_ids == ["cheese"]


def test_sources_can_be_chosen_by_what_they_go_by(shop: FirstStage):
    """Only sources of the evidence wanted are used; without any such source, every item is padding."""
    candidates = ask(shop, history_item_ids=["bread"], evidence=frozenset({"similar", "behaviour"}))
    assert candidates.sources == ("behaviour", "similar")
    both = ask(shop, history_item_ids=["bread"], sources=["popular", "similar"], evidence=frozenset({"similar"}))
    assert both.sources == ("similar",)
    none = ask(shop, history_item_ids=["bread"], evidence=frozenset({"trending"}))
    assert none.sources == ()
    assert none.padded == len(none) == len(EVERYTHING)
    assert set(none.item_ids) == EVERYTHING
