"""The log of a running gateway as a dataset."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from shortlist.gateway.v1 import gateway_pb2

from pipeline.data.adapters import prepare
from pipeline.data.dataset.event_kinds import TARGET, WEIGHT, weigh_as_stated
from pipeline.data.dataset.schema import BadDataset
from services.gateway.settings import Settings
from testing.gateway_backends import ITEMS, Backends
from testing.gateway_client import running_gateway
from testing.online.impression_logs import answer_record, event_record, write_log


def _write_items(folder: Path, count: int = ITEMS) -> None:
    ids = [f"item-{number}" for number in range(count)]
    pl.DataFrame({"item_id": ids, "title": [f"title of {item_id}" for item_id in ids]}).write_csv(folder / "items.csv")


async def test_what_a_gateway_recorded_becomes_a_dataset(tmp_path: Path):
    """Events of the log and of the profiles are there once, with pseudonyms, and with the weight of their position."""
    backends = Backends()
    await backends.start()
    settings = Settings(
        port=0,
        metrics_port=0,
        retrieval_target=backends.retrieval_target,
        ranking_target=backends.ranking_target,
        profiles=str(tmp_path / "profiles.sqlite3"),
        impressions_log=tmp_path / "log",
    )
    async with running_gateway(settings) as client:
        for number in range(40):
            answer = await client.recommend(user_id=f"u{number % 5}", limit=2)
            # The second position is chosen from half as often as the first.
            chosen = answer.items[0 if number % 3 else 1].item_id
            await client.record_events(
                gateway_pb2.Event(
                    event_id=f"e{number}",
                    user_id=f"u{number % 5}",
                    item_id=chosen,
                    kind=gateway_pb2.EVENT_KIND_VIEW,
                    request_id=answer.request_id,
                )
            )
        search = gateway_pb2.Event(event_id="s", user_id="u1", kind=gateway_pb2.EVENT_KIND_SEARCH, query="milk")
        await client.record_events(search)
    await backends.stop()
    _write_items(tmp_path)
    dataset = prepare("events-log", tmp_path)
    assert dataset.events.height == 40
    assert dataset.events["user_id"].n_unique() == 5
    assert not dataset.events["user_id"].is_in(["u0", "u1"]).any()
    assert dataset.report.tables["events"].dropped["search"].rows == 1
    weights = dict(dataset.events.group_by("item_id").agg(pl.col("event_weight").first()).iter_rows())
    assert weights["item-39"] == 1.0
    assert weights["item-38"] > 1.0
    assert any("40 answers were read; 40 of 41 events name one" in note for note in dataset.report.notes)


def test_profiles_add_what_the_log_has_not(tmp_path: Path):
    """A description names several logs; an event that is in none of them comes from the profiles."""
    _write_items(tmp_path)
    write_log(tmp_path / "a", [answer_record("r", ["item-1"]), event_record("1", "item-1", request_id="r")])
    write_log(tmp_path / "b", [event_record("2", "item-2", request_id="elsewhere"), event_record("3", "gone")])
    (tmp_path / "log.toml").write_text('log = ["a", "b"]\nitems = "items.csv"\n')
    dataset = prepare("events-log", tmp_path / "log.toml")
    assert sorted(dataset.events["item_id"]) == ["item-1", "item-2"]
    assert dataset.report.tables["events"].dropped["unknown_item"].rows == 1
    assert any("1 events name an answer that the log does not have" in note for note in dataset.report.notes)


def test_the_items_can_be_those_of_a_release(tmp_path: Path, tiny_release: Path):
    """The catalogue of a release has the items, with their attributes."""
    write_log(tmp_path / "log", [event_record("1", "dairy-milk-red-0")])
    (tmp_path / "log.toml").write_text(f'log = ["log"]\nrelease = "{tiny_release}"\n')
    dataset = prepare("events-log", tmp_path / "log.toml")
    assert dataset.items.height == 240
    assert dataset.items.filter(pl.col("item_id") == "dairy-milk-red-0")["title"].item() == "red milk"
    assert "department" in dataset.items.columns


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('log = ["log"]', "name either items"),
        ("log = ", "no TOML"),
        ('log = ["nowhere"]\nitems = "items.csv"', "has no shown-"),
        ('log = ["log"]\nitems = "items.csv"\nprofiles = ["items.csv"]', "cannot be read as profiles"),
        ('logs = ["log"]\nitems = "items.csv"', "log: Field required"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, content: str, words: str):
    """The error says what is wrong with the description."""
    _write_items(tmp_path)
    write_log(tmp_path / "log", [event_record("1", "item-1")])
    (tmp_path / "log.toml").write_text(content)
    with pytest.raises(BadDataset, match=words):
        prepare("events-log", tmp_path / "log.toml")


def test_a_folder_without_items_is_refused(tmp_path: Path):
    """A log alone has no titles; the error says what to add."""
    write_log(tmp_path, [event_record("1", "item-1")])
    with pytest.raises(BadDataset, match="no table of items"):
        prepare("events-log", tmp_path)


def test_builds_weigh_events_by_their_position(tmp_path: Path):
    """The weight of an event is its kind's, times the inverse of how likely its position is looked at."""
    _write_items(tmp_path)
    records = []
    for number in range(90):
        records.append(answer_record(f"r{number}", ["item-1", "item-2"]))
        chosen = "item-2" if number % 3 == 0 else "item-1"
        records.append(event_record(f"e{number}", chosen, request_id=f"r{number}", user=f"u{number}"))
    records.append(event_record("bought", "item-3", kind="purchase"))
    write_log(tmp_path, records)
    weighed = weigh_as_stated(prepare("events-log", tmp_path), ["view=0.5"]).events
    by_item = dict(weighed.group_by("item_id").agg(pl.col(WEIGHT).first()).iter_rows())
    assert by_item["item-1"] == pytest.approx(0.5)
    assert by_item["item-2"] > 0.6
    assert by_item["item-3"] == 1.0
    assert weighed.filter(TARGET)["item_id"].to_list() == ["item-3"]
