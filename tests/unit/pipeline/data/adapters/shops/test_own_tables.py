"""Any shop's tables become a dataset, by a folder with our names or by a mapping."""

from __future__ import annotations

import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

DESCRIPTION = """
licence = "ours"

[items]
file = "products.csv"
columns = { item_id = "sku", title = "name", price = "cost", colour = "colour" }

[events]
file = "orders.jsonl"
columns = { user_id = "customer", item_id = "sku", timestamp = "at" }
event = "purchase"
"""


PRODUCTS = "sku,name,cost,colour,internal\n1,Bread,2.5,brown,x\n2,Milk,,white,y\n"


ORDERS = """\
{"customer": 17, "sku": 1, "at": "2024-01-02T10:00:00Z"}
{"customer": 18, "sku": 2, "at": "2024-01-01T10:00:00Z"}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Write two tables with a shop's own names and their description; return the description's file."""
    (tmp_path / "products.csv").write_text(PRODUCTS)
    (tmp_path / "orders.jsonl").write_text(ORDERS)
    (tmp_path / "shop.toml").write_text(DESCRIPTION)
    return tmp_path / "shop.toml"


def folder_dataset(folder: Path, items: str, events: str) -> Dataset:
    """Prepare a folder with two CSV tables in our names."""
    (folder / "items.csv").write_text(items)
    (folder / "events.csv").write_text(events)
    return prepare("table", folder)


def dropped(dataset: Dataset, table: str) -> dict[str, int]:
    """Return the counts of the reasons that dropped any row of a table."""
    reasons = dataset.report.tables[table].dropped
    return {reason: part.rows for reason, part in reasons.items() if part.rows}


def test_a_mapping_gives_our_columns_our_names(shop: Path):
    """Only mapped columns are taken; numbers become ids, text becomes times, and further columns attributes."""
    dataset = prepare("table", shop)
    assert dataset.items.select("item_id", "title", "price", "colour").rows() == [
        ("1", "Bread", 2.5, "brown"),
        ("2", "Milk", None, "white"),
    ]
    assert "internal" not in dataset.items.columns
    assert dataset.events.rows() == [
        ("17", "1", "purchase", datetime(2024, 1, 2, 10)),  # noqa: DTZ001 - datasets have no zone
        ("18", "2", "purchase", datetime(2024, 1, 1, 10)),  # noqa: DTZ001
    ]
    assert dataset.report.licence == "ours"
    assert dataset.report.tables["items"].missing == {"price": 1}


def test_a_dataset_is_a_source_of_itself(tmp_path: Path, shop: Path):
    """A folder with tables in our names, here Parquet, is taken as it is."""
    dataset = prepare("table", shop)
    dataset.save(tmp_path / "out")
    assert prepare("table", tmp_path / "out").fingerprint() == dataset.fingerprint()


def test_unusable_rows_are_left_out_and_counted(tmp_path: Path):
    """Each kind of unusable row has its own reason."""
    items = 'item_id,title,price\na,Apple,1\n" ",Nameless,1\nb,,1\na,Again,2\nc,Cheese,-1\nd,Date,2\n'
    events = (
        "user_id,item_id,event,timestamp,quantity,event_id\n"
        "u,a,purchase,2024-01-01 10:00:00,1,e1\n"
        "u,a,purchase,2024-01-01 10:00:00,1,e1\n"
        ",a,purchase,2024-01-01 10:00:00,1,e2\n"
        "u,a,purchase,yesterday,1,e3\n"
        "u,zz,purchase,2024-01-01 10:00:00,1,e4\n"
        "u,a,purchase,2024-01-01 10:00:00,0,e5\n"
        "u,a,purchase,2024-01-01 10:00:00,1,\n"
        "u,a,purchase,2024-01-01 10:00:00,1,\n"
    )
    dataset = folder_dataset(tmp_path, items, events)
    assert dropped(dataset, "items") == {"no_id": 1, "no_title": 1, "repeated_id": 1}
    assert dropped(dataset, "events") == {
        "no_user": 1,
        "no_timestamp": 1,
        "unknown_item": 1,
        "no_quantity": 1,
        "repeated_id": 1,
        "repeated_row": 1,
    }
    assert (dataset.items.height, dataset.events.height) == (3, 2)


def test_judgements_without_events_are_enough(tmp_path: Path):
    """A search data set has no events; unusable judgements are counted."""
    (tmp_path / "items.csv").write_text("item_id,title\n1,Hammer\n")
    (tmp_path / "judgements.csv").write_text("query,item_id,relevance\nhammer,1,2.33\nhammer,9,1\n,1,1\nnail,1,-1\n")
    dataset = prepare("table", tmp_path)
    assert dataset.events.is_empty()
    assert dataset.judgements is not None
    assert dataset.judgements.rows() == [("hammer", "1", 2.33)]
    assert dropped(dataset, "judgements") == {"incomplete": 1, "impossible_relevance": 1, "unknown_item": 1}


def test_positions_stand_in_for_times(tmp_path: Path):
    """Where only the order is known, positions order the events."""
    dataset = folder_dataset(
        tmp_path, "item_id,title\na,Apple\nb,Bread\n", "user_id,item_id,event,position\nu,a,view,1\nu,b,view,0\n"
    )
    assert dataset.order_column == "position"
    assert dataset.events["item_id"].to_list() == ["b", "a"]


def test_whole_numbers_that_an_empty_cell_made_fractions_stay_ids(tmp_path: Path):
    """17850.0 is the id 17850."""
    dataset = folder_dataset(
        tmp_path, "item_id,title\n1,Apple\n", "user_id,item_id,event,timestamp\n17850.0,1.0,view,1700000000\n"
    )
    assert dataset.events.select("user_id", "item_id").rows() == [("17850", "1")]
    assert dataset.events["timestamp"][0] == datetime(2023, 11, 14, 22, 13, 20)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "name", ', "", r"products\.csv: the mapping of items lacks title; say what they call it"),
        ('title = "name"', 'title = "label"', r"products\.csv lacks the column 'label'.*found are sku, name, cost"),
        ('event = "purchase"', "", r"orders\.jsonl: the mapping of events lacks event"),
        (', timestamp = "at"', "", r"lacks the column 'timestamp'"),
        ('"orders.jsonl"', '"orders.xlsx"', r"orders\.xlsx does not exist"),
        ('"products.csv"', '"shop.toml"', r"of an unknown kind; its suffix must be one of \.parquet, \.csv"),
        ('event = "purchase"', 'event = "view"\nweights = { look = 1 }', r"weights.*'look' is no kind of event"),
        ("[items]", "[products]", r"shop\.toml is no description of tables.*items"),
        ("[items]", "[items", r"shop\.toml is no description of tables"),
        ('price = "cost"', 'price = "name"', r"2 of 2 cells of the column 'name' are no price, such as 'Bread'"),
        ('item_id = "sku", timestamp', 'item_id = "customer", timestamp', r"all 2 rows were left out.*not among"),
    ],
)
def test_a_wrong_description_is_told_what_is_wrong(shop: Path, old: str, new: str, message: str):
    """The message names the file and the column, and what was found or is wanted."""
    assert old in DESCRIPTION
    shop.write_text(DESCRIPTION.replace(old, new))
    with pytest.raises(BadDataset, match=f"(?s){message}"):
        prepare("table", shop)


def test_a_folder_without_items_or_no_folder_at_all_is_refused(tmp_path: Path):
    """The message says what the folder should hold."""
    with pytest.raises(BadDataset, match=r"holds none of items\.parquet, items\.csv"):
        prepare("table", tmp_path)
    with pytest.raises(BadDataset, match="does not exist; name a folder of tables"):
        prepare("table", tmp_path / "nowhere")


def test_a_broken_file_is_named(tmp_path: Path):
    """A file that is not what its suffix says is named."""
    (tmp_path / "items.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadDataset, match=r"items\.parquet cannot be read as parquet"):
        prepare("table", tmp_path)


def test_names_of_columns_may_differ_in_case_and_marks(tmp_path: Path):
    """`Item ID` and `userId` are ours; a column that has our very name goes before them. Each is noted."""
    items = "Item_ID,Title,item-id\na,Tea,x\nb,Pot,y\n"
    dataset = folder_dataset(tmp_path, items, "userId,Item ID,Event,TimeStamp\nu,a,purchase,2024-01-01\n")
    assert dataset.items["item_id"].to_list() == ["a", "b"]
    assert dataset.items["item-id"].to_list() == ["x", "y"]
    assert dataset.events.select("user_id", "item_id").rows() == [("u", "a")]
    assert "events.csv: the column 'Item ID' was read as item_id." in dataset.report.notes


def test_a_table_of_events_without_a_row_is_noted(tmp_path: Path):
    """The items alone are the dataset."""
    dataset = folder_dataset(tmp_path, "item_id,title\na,Tea\n", "user_id,item_id,event,timestamp\n")
    assert (dataset.items.height, dataset.events.height) == (1, 0)
    assert dataset.report.notes == ["events.csv has names of columns and no row: there are no events."]


def test_an_archive_of_several_tables_is_named(tmp_path: Path):
    """It is refused as items, and named next to them."""
    with zipfile.ZipFile(tmp_path / "items.zip", "w") as archive:
        archive.writestr("a.csv", "item_id,title\na,Tea\n")
        archive.writestr("b.csv", "item_id,title\nb,Tea\n")
    with pytest.raises(BadDataset, match=r"items\.zip holds 2 files \(a\.csv, b\.csv\); unpack it into a folder"):
        prepare("table", tmp_path)


def test_who_is_no_person_can_be_set(tmp_path: Path):
    """`nobody` of a mapping replaces the words that are known."""
    (tmp_path / "items.csv").write_text("item_id,title\na,Tea\n")
    (tmp_path / "events.csv").write_text(
        "user_id,item_id,event,timestamp\nguest,a,purchase,2024-01-01\ntill,a,purchase,2024-01-01\n"
    )
    assert prepare("table", tmp_path).events["user_id"].to_list() == ["till"]
    (tmp_path / "shop.toml").write_text('[items]\nfile="items.csv"\n[events]\nfile="events.csv"\nnobody=["till"]\n')
    assert prepare("table", tmp_path / "shop.toml").events["user_id"].to_list() == ["guest"]
