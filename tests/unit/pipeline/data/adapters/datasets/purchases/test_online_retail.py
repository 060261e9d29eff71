"""The raw UCI file becomes purchases: what was taken back, written off or no product is left out and counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

START = datetime(2010, 12, 13, 8, 26)  # noqa: DTZ001 - the source has no zone


COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "UnitPrice", "CustomerID"]


SALES = [
    ("500001", "85123A", "WHITE HEART ", 6, 2.0, 17850.0),
    ("500001", "85123a", "WHITE  HEART", 2, 3.0, 17850.0),
    ("500001", "22752", "SET OF 7 BOXES", 2, 7.65, 17850.0),
    ("500002", "85123A", "HEART, WHITE", 1, 4.0, None),
]


def dataset_of(folder: Path, lines: list[tuple[object, ...]]) -> Dataset:
    """Prepare lines, an hour apart."""
    frame = pl.DataFrame(lines, COLUMNS, orient="row").with_columns(
        pl.Series("InvoiceDate", [START + hours * timedelta(hours=1) for hours in range(len(lines))])
    )
    frame.write_parquet(folder / "raw.parquet")
    return prepare("online-retail", folder / "raw.parquet")


def dropped(dataset: Dataset) -> dict[str, int]:
    """Return the counts of the reasons that dropped any event."""
    reasons = dataset.report.tables["events"].dropped
    return {reason: part.rows for reason, part in reasons.items() if part.rows}


def test_codes_are_one_whatever_their_case_and_titles_the_most_frequent(tmp_path: Path):
    """85123a is 85123A; of several descriptions the most frequent names the item, set as in a catalogue."""
    dataset = dataset_of(tmp_path, SALES)
    assert dict(dataset.items.select("item_id", "title").iter_rows()) == {
        "22752": "Set of 7 Boxes",
        "85123A": "White Heart",
    }
    assert dataset.items.filter(item_id="85123A")["price"].to_list() == [3.0]
    assert dropped(dataset) == {}


def test_an_invoice_without_customer_is_a_visit_of_its_own(tmp_path: Path):
    """Its user is named after the invoice and marked as unknown."""
    events = dataset_of(tmp_path, SALES).events
    assert events.select("user_id", "known_user", "session_id").unique().sort("user_id").rows() == [
        ("17850", True, "500001"),
        ("guest-500002", False, "500002"),
    ]


def test_lines_of_an_invoice_keep_their_order(tmp_path: Path):
    """Event ids sort as the lines stood in the file."""
    events = dataset_of(tmp_path, SALES).events.filter(user_id="17850")
    assert events["event_id"].to_list() == ["500001-0000000", "500001-0000001", "500001-0000002"]
    assert events["quantity"].to_list() == [6.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (("A500009", "B", "Adjust bad debt", 1, 11062.06, None), "bad_debt"),
        (("500009", "POST", "POSTAGE", 1, 18.0, 17850.0), "not_a_product"),
        (("500009", "m", "Manual", 1, 2.0, 17850.0), "not_a_product"),
        (("500009", "BANK CHARGES", "Bank Charges", 1, 15.0, None), "not_a_product"),
        (("500009", "gift_0001_20", "Gift Voucher", 1, 16.67, None), "not_a_product"),
        (("500009", "23444", "Next Day Carriage", 1, 15.0, 17850.0), "not_a_product"),
        (("500009", "22016", "Dotcomgiftshop Gift Voucher £100.00", 1, 83.33, None), "not_a_product"),
        (("C500009", "22752", "SET OF 7 BOXES", -1, 7.65, 17850.0), "cancellation"),
        (("500009", "22752", "damaged", -9, 0.0, None), "stock_movement"),
        (("500009", "22752", "check", 9, 0.0, None), "no_price"),
        (("500009", "22753", "nan", 1, 2.0, 17850.0), "unnamed"),
        (("500009", "22752", "SET OF 7 BOXES", None, 7.65, 17850.0), "unreadable"),
    ],
)
def test_what_is_no_purchase_is_left_out_under_its_reason(tmp_path: Path, line: tuple[object, ...], reason: str):
    """Each kind of line is counted under its own reason and leaves the sales as they are."""
    dataset = dataset_of(tmp_path, [*SALES, line])
    assert dropped(dataset) == {reason: 1}
    assert dataset.events.height == len(SALES)


def test_a_gift_shop_code_is_a_product(tmp_path: Path):
    """DCGS codes are products sold online, though they do not begin with digits."""
    dataset = dataset_of(tmp_path, [*SALES, ("500009", "DCGSSGIRL", "GIRLS PARTY BAG", 1, 3.29, None)])
    assert "Girls Party Bag" in dataset.items["title"]


def test_a_line_that_stands_twice_counts_once(tmp_path: Path):
    """Lines equal in every column, time included, are one line."""
    frame = pl.DataFrame(SALES, COLUMNS, orient="row").with_columns(pl.lit(START).alias("InvoiceDate"))
    pl.concat([frame, frame.head(1)]).write_parquet(tmp_path / "raw.parquet")
    dataset = prepare("online-retail", tmp_path / "raw.parquet")
    assert dropped(dataset) == {"repeated_line": 1}


def test_a_cancellation_takes_back_the_latest_such_purchase_before_it(tmp_path: Path):
    """Of two equal purchases the later one goes; a purchase after the cancellation stays, and so do other users's."""
    box = ("22752", "SET OF 7 BOXES")
    lines = [
        ("500001", *box, 2, 7.65, 17850.0),
        ("500002", *box, 2, 7.65, 17850.0),
        ("500003", *box, 2, 7.65, 12583.0),
        ("500004", *box, 3, 7.65, 17850.0),
        ("C500005", *box, -2, 7.65, 17850.0),
        ("500006", *box, 2, 7.65, 17850.0),
    ]
    dataset = dataset_of(tmp_path, lines)
    assert dropped(dataset) == {"cancellation": 1, "cancelled_purchase": 1}
    assert sorted(dataset.events["session_id"]) == ["500001", "500003", "500004", "500006"]


def test_cancellations_take_back_one_purchase_each(tmp_path: Path):
    """Two cancellations take two purchases; a third finds none, and neither does one without customer."""
    line = ("22752", "SET OF 7 BOXES", 2, 7.65)
    back = ("22752", "SET OF 7 BOXES", -2, 7.65)
    sold = [("500001", *line, 17850.0), ("500002", *line, 17850.0), ("500003", *line, None)]
    undone = [("C500004", *back, 17850.0), ("C500005", *back, 17850.0), ("C500006", *back, 17850.0)]
    dataset = dataset_of(tmp_path, [*sold, *undone, ("C500007", *back, None)])
    assert dropped(dataset) == {"cancellation": 4, "cancelled_purchase": 2}
    assert dataset.events["session_id"].to_list() == ["500003"]


def test_codes_that_were_never_bought_are_counted(tmp_path: Path):
    """A code with stock notes alone is no item, and the report says so."""
    dataset = dataset_of(tmp_path, [*SALES, ("500009", "99999", "found", 9, 0.0, None)])
    items = dataset.report.tables["items"]
    assert (items.rows_in, items.rows_out, items.dropped["never_bought"].rows) == (3, 2, 1)


@pytest.mark.parametrize("form", ["%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M:%S"])
def test_a_csv_export_gives_the_same_dataset(tmp_path: Path, form: str):
    """The same lines as CSV, Latin-1 and with dates as text, are read alike."""
    raw = pl.DataFrame(SALES, COLUMNS, orient="row").with_columns(pl.lit(START).alias("InvoiceDate"))
    raw.write_parquet(tmp_path / "raw.parquet")
    voucher = '\n500009,gift_0001_20,"Voucher £20",1,16.67,,12/13/2010 8:26'
    text = raw.with_columns(pl.col("InvoiceDate").dt.strftime(form)).write_csv().strip()
    (tmp_path / "raw.csv").write_bytes(text.encode("latin-1"))
    of_csv = prepare("online-retail", tmp_path / "raw.csv")
    assert of_csv.fingerprint() == prepare("online-retail", tmp_path / "raw.parquet").fingerprint()
    (tmp_path / "raw.csv").write_bytes((text + voucher).encode("latin-1"))
    assert prepare("online-retail", tmp_path / "raw.csv").events.height == len(SALES)


def test_a_file_without_purchases_is_refused(tmp_path: Path):
    """The message says why the lines were left out."""
    with pytest.raises(BadDataset, match=r"holds no purchase: all 1 rows were left out, 1 of them since: Postage"):
        dataset_of(tmp_path, [("500009", "POST", "POSTAGE", 1, 18.0, 17850.0)])


def test_a_missing_column_is_named(tmp_path: Path):
    """The message names the file, the column and the columns found."""
    pl.DataFrame({"InvoiceNo": ["1"]}).write_parquet(tmp_path / "raw.parquet")
    with pytest.raises(BadDataset, match=r"raw\.parquet lacks the column 'CustomerID'.*found are InvoiceNo"):
        prepare("online-retail", tmp_path)


def test_the_real_file_is_prepared(real_online_retail: Path):
    """On the real file every line is accounted for, and titles are names of products."""
    dataset = prepare("online-retail", real_online_retail)
    events = dataset.report.tables["events"]
    assert (events.rows_in, events.rows_out) == (541_909, 519_637)
    assert {reason: part.rows for reason, part in events.dropped.items()} == {
        "unreadable": 0,
        "repeated_line": 5_268,
        "bad_debt": 3,
        "not_a_product": 3_025,
        "cancellation": 8_667,
        "cancelled_purchase": 2_817,
        "stock_movement": 1_336,
        "no_price": 1_156,
        "unnamed": 0,
    }
    titles = dataset.items["title"]
    assert not titles.str.contains(r"(?i)damage|\?|\bnan\b|postage|day carriage|voucher|adjust|^check").any()
    assert dict(dataset.items.select("item_id", "title").iter_rows())["85123A"] == "White Hanging Heart T-Light Holder"


HEADER = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]


HEADER_II = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]


LINES = [
    [536365, "85123A", "WHITE HEART", 6, START, 2.55, 17850, "United Kingdom"],
    [536365, 22752, "SET OF 7 BOXES", 2, START, 7.65, 17850, "United Kingdom"],
    [536366, 22752, "SET OF 7 BOXES", 1, START + timedelta(minutes=2), 7.65, None, "France"],
    ["C536379", 22752, "SET OF 7 BOXES", -2, START + timedelta(days=1), 7.65, 17850, "United Kingdom"],
]


def test_the_workbook_is_read_as_the_table_is(write_workbook: Callable[..., Path], tmp_path: Path):
    """Online Retail.xlsx, its numeric invoices and codes, dates and empty customers, makes what the CSV form makes."""
    book = write_workbook(tmp_path / "Online Retail.xlsx", {"Online Retail": [HEADER, *LINES]})
    table = pl.DataFrame(
        [[None if cell is None else str(cell) for cell in line] for line in LINES], HEADER, orient="row"
    )
    table.write_csv(tmp_path / "it.csv")
    from_book, from_csv = prepare("online-retail", book), prepare("online-retail", tmp_path / "it.csv")
    assert from_book.fingerprint() == from_csv.fingerprint()
    assert from_book.events.select("user_id", "item_id", "quantity", "timestamp").rows() == [
        ("17850", "85123A", 6.0, START),
        ("guest-536366", "22752", 1.0, START + timedelta(minutes=2)),
    ]
    assert dropped(from_book) == {"cancellation": 1, "cancelled_purchase": 1}
    assert "352" in from_book.report.licence


def test_online_retail_ii_has_two_sheets_that_overlap(write_workbook: Callable[..., Path], tmp_path: Path):
    """Lines that stand in both sheets count once; the columns of the second edition are known, and its terms named."""
    sheets = {"Year 2009-2010": [HEADER_II, *LINES[:2]], "Year 2010-2011": [HEADER_II, *LINES[1:3]]}
    dataset = prepare("online-retail", write_workbook(tmp_path / "online_retail_II.xlsx", sheets))
    assert dropped(dataset) == {"repeated_line": 1}
    assert dataset.events["quantity"].to_list() == [6.0, 2.0, 1.0]
    assert "502" in dataset.report.licence


def test_a_sheet_without_the_columns_is_refused(write_workbook: Callable[..., Path], tmp_path: Path):
    """The message names what is missing and what there is."""
    book = write_workbook(tmp_path / "sales.xlsx", {"Sales": [["InvoiceNo", "Amount"], [1, 2.5]]})
    with pytest.raises(BadDataset, match=r"sales\.xlsx lacks the column 'CustomerID', .* found are InvoiceNo, Amount"):
        prepare("online-retail", book)
