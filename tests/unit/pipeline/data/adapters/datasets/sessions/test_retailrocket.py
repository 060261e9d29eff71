"""RetailRocket's files become events of items known by number."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

EVENTS = """timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433221332117,257597,view,355908,
1433224214164,992329,addtocart,248676,
1433224300000,992329,transaction,248676,4000
1433224300001,992329,wish,248676,
noon,992329,view,248676,
"""


FIRST = """timestamp,itemid,property,value
1435460400000,355908,categoryid,1338
1433041200000,355908,categoryid,7
1435460400000,355908,available,1
1433041200000,355908,available,0
1435460400000,355908,790,n15360.000
"""


SECOND = """timestamp,itemid,property,value
1435460400000,460429,categoryid,1114
1435460400000,460429,available,0
"""


def write(folder: Path) -> Path:
    """Write the files with the properties in two parts, as they are published."""
    (folder / "events.csv").write_text(EVENTS)
    (folder / "item_properties_part1.csv").write_text(FIRST)
    (folder / "item_properties_part2.csv").write_text(SECOND)
    return folder


def dropped(dataset: Dataset) -> dict[str, int]:
    """Return the counts of the reasons that dropped any event."""
    return {reason: part.rows for reason, part in dataset.report.tables["events"].dropped.items() if part.rows}


def test_items_have_what_was_stated_last(tmp_path: Path):
    """Category and availability are the latest; an item that only events name is there too, and counts as available."""
    items = prepare("retailrocket", write(tmp_path)).items.select("item_id", "title", "category", "available")
    assert items.rows() == [
        ("248676", "Item 248676", None, None),
        ("355908", "Item 355908", "Category 1338", True),
        ("460429", "Item 460429", "Category 1114", False),
    ]


def test_events_have_our_names(tmp_path: Path):
    """Carts and transactions are called as everywhere, and times are milliseconds."""
    events = prepare("retailrocket", write(tmp_path)).events
    assert events.select("user_id", "item_id", "event").rows() == [
        ("257597", "355908", "view"),
        ("992329", "248676", "cart"),
        ("992329", "248676", "purchase"),
    ]
    assert events["timestamp"][0] == datetime(2015, 6, 2, 5, 2, 12, 117000)  # noqa: DTZ001 - datasets have no zone


def test_unusable_events_are_counted(tmp_path: Path):
    """Each reason is counted once."""
    assert dropped(prepare("retailrocket", write(tmp_path))) == {"unreadable": 1, "unknown_kind": 1, "repeated": 1}


@pytest.mark.parametrize("missing", ["events.csv", "item_properties_part1.csv"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str):
    """Without events, or without any properties, there is no dataset."""
    write(tmp_path)
    (tmp_path / missing).unlink()
    (tmp_path / "item_properties_part2.csv").unlink()
    with pytest.raises(BadDataset, match=r"events\.csv|item_properties"):
        prepare("retailrocket", tmp_path)
