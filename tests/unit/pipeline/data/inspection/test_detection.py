"""Which source reads a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.inspection.detection import detect

ITEMS = "item_id,title\na,Tea\n"
EVENTS = "user_id,item_id,event,timestamp\nu,a,purchase,2024-01-01\n"
PRODUCTS = "Handle,Title,Variant Price\ntea,Tea,2.50\n"
FEED = "id\ttitle\timage_link\na\tTea\thttps://a\n"


def _folder(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"p.csv": PRODUCTS}, "shopify"),
        ({"feed.tsv": FEED}, "google-merchant"),
        ({"items.csv": ITEMS, "events.csv": EVENTS}, "table"),
        ({"items.csv": ITEMS}, "table"),
        ({"Item list.csv": "SKU,Name\na,Tea\n"}, "table"),
        ({"articles.csv": "article_id\n", "transactions_train.csv": "t_dat\n"}, "hm"),
        ({"yoochoose-clicks.dat": "1,2,3,4\n", "yoochoose-buys.dat": "1,2,3,4,5\n"}, "yoochoose"),
        ({"2019-Oct.csv": "event_time,event_type,product_id,category_id,user_session\n"}, "rees46"),
        ({"shop.toml": '[items]\nfile = "items.csv"\n', "items.csv": ITEMS}, "table"),
    ],
)
def test_the_files_tell_the_source(tmp_path: Path, files: dict[str, str], source: str):
    """Platforms and public data sets by headings or names of files, a shop's own tables by what their columns mean."""
    found = detect(_folder(tmp_path, files))
    assert found.source == source
    assert found.sentence.startswith(f"Source {source}: ")


def test_the_dataset_is_that_of_the_adapter(tmp_path: Path):
    """Detection changes nothing but who names the adapter; a single file is enough."""
    folder = _folder(tmp_path, {"p.csv": PRODUCTS})
    expected = prepare("shopify", folder).fingerprint()
    assert detect(folder).prepare(lambda _: None).fingerprint() == expected
    assert detect(folder / "p.csv").prepare(lambda _: None).fingerprint() == expected


def test_own_tables_are_read_by_a_proposed_mapping(tmp_path: Path):
    """One sentence says which column is which, and the report repeats it; what nothing reads is named."""
    orders = "Customer;SKU;Order Date\nann;a;13.02.2024\n"
    folder = _folder(tmp_path, {"p.csv": "SKU;Name;Colour\na;Tea;green\n", "o.csv": orders, "n.csv": "x,y\n1,2\n"})
    found = detect(folder)
    dataset = found.prepare(lambda _: None)
    assert found.sentence == (
        "Source table: items from p.csv (item_id = SKU, title = Name); events from o.csv (user_id = Customer, "
        "item_id = SKU, timestamp = Order Date, every row a purchase)"
    )
    assert (dataset.items["colour"].to_list(), dataset.events["user_id"].to_list()) == (["green"], ["ann"])
    assert {found.sentence, "n.csv in the folder was not read."} <= set(dataset.report.notes)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"p.csv": PRODUCTS, "feed.tsv": FEED},
            r"fits several sources: shopify \(a Shopify export\), google-merchant \(",
        ),
        ({"a.csv": "x,y\n1,2\n"}, r"no table looks like items, with an id and a title \(a\.csv has x, y\)"),
        ({}, r"no table looks like items, with an id and a title \(there is no table\)"),
        ({"p.csv": "SKU,Name\na,Tea\n", "o.csv": "SKU,Amount\na,2\n"}, r"o\.csv: no column looks like user_id"),
        ({"items.csv": 'item_id,title\n1,"a\n2,b\n'}, r"items\.csv, line 2: a quote opens"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(tmp_path: Path, files: dict[str, str], message: str):
    """Two sources, no items, a table that nothing reads, or a broken file."""
    with pytest.raises(BadDataset, match=message):
        detect(_folder(tmp_path, files))


def test_nothing_there_is_named(tmp_path: Path):
    """The path may be mistyped."""
    with pytest.raises(BadDataset, match=r"shop does not exist; name the file or folder"):
        detect(tmp_path / "shop")


def test_a_prepared_dataset_is_a_source(tmp_path: Path):
    """What `prepare` wrote is read as it is."""
    dataset = prepare("table", _folder(tmp_path, {"items.csv": ITEMS, "events.csv": EVENTS}))
    dataset.save(tmp_path / "out")
    assert detect(tmp_path / "out").prepare(lambda _: None).fingerprint() == dataset.fingerprint()
