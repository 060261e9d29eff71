"""H&M's articles and transactions become items and purchases."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset

ARTICLES = (
    "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,colour_group_code,"
    "colour_group_name,index_group_name,detail_desc\n"
    '0108775015,0108775,Strap top,253,Vest top,Garment Upper body,09,Black,Ladieswear,"Top in jersey, narrow."\n'
    "0108775044,0108775,Strap top,253,Vest top,Garment Upper body,10,White,Ladieswear,\n"
    "0110065001,0110065,,306,Bra,Underwear,09,Black,Ladieswear,Bra\n"
)
TRANSACTIONS = """t_dat,customer_id,article_id,price,sales_channel_id
2018-09-20,000058a1,0108775015,0.0508,2
2018-09-20,000058a1,0108775015,0.0508,2
2018-09-21,00007d2d,0108775015,0.0304,2
2018-09-21,00007d2d,0110065001,free,2
last week,00007d2d,0108775044,0.0304,2
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with articles and transactions."""
    (tmp_path / "articles.csv").write_text(ARTICLES)
    (tmp_path / "transactions_train.csv").write_text(TRANSACTIONS)
    return tmp_path


def test_articles_keep_their_zeros(data: Path):
    """A title is name and colour; the price is the median of what was paid."""
    items = prepare("hm", data).items
    assert items.select("item_id", "title", "category", "colour", "description").rows() == [
        (
            "0108775015",
            "Strap top, Black",
            "Garment Upper body > Vest top",
            "Black",
            "Top in jersey, narrow.",
        ),
        ("0108775044", "Strap top, White", "Garment Upper body > Vest top", "White", None),
    ]
    assert items["price"].to_list() == [0.0508, 0.0304]


def test_equal_lines_of_a_day_are_one_purchase(data: Path):
    """Their number is the quantity, and the value what was paid for all; every line is counted."""
    dataset = prepare("hm", data)
    assert dataset.events.select("user_id", "item_id", "quantity", "value").rows() == [
        ("000058a1", "0108775015", 2.0, 0.1016),
        ("00007d2d", "0108775015", 1.0, 0.0304),
    ]
    report = dataset.report.tables["events"]
    assert {name: part.rows for name, part in report.dropped.items() if part.rows} == {
        "no_timestamp": 1,
        "unknown_item": 1,
        "repeated_row": 1,
    }
    assert report.unreadable["value"].examples == ["free"]
    assert dataset.report.tables["items"].dropped["no_title"].rows == 1


def test_customers_are_optional_and_not_read(data: Path):
    """The report says that the file was left out."""
    assert len(prepare("hm", data).report.notes) == 1
    (data / "customers.csv").write_text("customer_id,age\n000058a1,24\n")
    assert "customers.csv was not read" in prepare("hm", data).report.notes[1]


@pytest.mark.parametrize("missing", ["articles.csv", "transactions_train.csv"])
def test_a_missing_file_or_column_is_named(data: Path, missing: str):
    """The message names what to look for."""
    (data / missing).write_text("a,b\n1,2\n")
    with pytest.raises(BadDataset, match=rf"{missing} lacks the column .*article_id.*found are a, b"):
        prepare("hm", data)
    (data / missing).unlink()
    with pytest.raises(BadDataset, match=f"holds no {missing}"):
        prepare("hm", data)
