"""Items as shops write them, cleaned."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.data.dataset.report import Unreadable
from pipeline.data.ingest.items import clean_items


def _items(**columns: list[object]) -> pl.DataFrame:
    count = max(map(len, columns.values()))
    return pl.DataFrame(
        {"item_id": [f"i{n}" for n in range(count)], "title": ["Thing"] * count, **columns}, strict=False
    )


def test_markup_and_entities_leave_texts():
    """Tags, styles and entities of titles, brands, categories and descriptions go; plain text stays as it is."""
    found = clean_items(
        _items(
            title=["<b>Bold</b> lamp", "Tea &amp; Coffee", "a < b"],
            description=["<style>p{}</style><p>x</p>", None, "y"],
        )
    ).frame
    assert found["title"].to_list() == ["Bold lamp", "Tea & Coffee", "a < b"]
    assert found["description"].to_list() == ["x", None, "y"]


def test_categories_become_paths():
    """A list, and any mark between the parts."""
    cells = ['["Home", "Kitchen"]', "Home&gt;Kitchen", "Home » Kitchen", "Home", '[["Home", "Kitchen"]]']
    found = clean_items(_items(category=cells)).frame["category"].to_list()
    assert found == ["Home > Kitchen", "Home > Kitchen", "Home > Kitchen", "Home", "Home > Kitchen"]


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        (r"['Men\'s', 'Shoes']", "Men's > Shoes"),
        ("[['Home', 'Kitchen'], ['Gifts']]", "Home > Kitchen"),
        ('["Home", null, ""]', "Home"),
        ("[]", None),
        (" > Home > > Kitchen >", "Home > Kitchen"),
        ("Home -> Kitchen", "Home > Kitchen"),
        ("<b>Home</b> > Kitchen", "Home > Kitchen"),
    ],
)
def test_paths_have_no_empty_parts(cell: str, path: str | None):
    """Lists of Python keep their apostrophes, of several paths the first counts, and no part is empty."""
    assert clean_items(_items(category=[cell])).frame["category"].to_list() == [path]


def test_bad_prices_are_emptied_counted_and_shown():
    """The item stays, without a price."""
    items = clean_items(_items(price=["3.5", "call us", "-1", "n/a"]))
    assert items.frame["price"].to_list() == [3.5, None, None, None]
    assert items.report().unreadable == {"price": Unreadable(cells=2, examples=["call us", "-1"])}


def test_what_no_caller_could_send_is_left_out_or_cut():
    """An id of more than 256 bytes goes with its item; a longer text than the contract's is cut; both are counted."""
    items = clean_items(_items(item_id=["a", "é" * 129], title=["x" * 2_001, "y"]))
    assert items.frame["title"].str.len_chars().to_list() == [2_000]
    report = items.report()
    assert (report.dropped["long_id"].rows, report.cut) == (1, {"title": 1})


def test_further_columns_become_numbers_only_if_all_are():
    """A zero in front makes text of a column; numbers, flags and text of other files keep their kind."""
    found = clean_items(
        _items(code=["007", "12"], weight=["1.5", "2"], size=["S", "2"], stock=[1, 2], new=[True, None])
    ).frame
    kinds = {name: found[name].dtype for name in ("code", "weight", "size", "stock", "new")}
    assert kinds == {"code": pl.String, "weight": pl.Float64, "size": pl.String, "stock": pl.Int64, "new": pl.Boolean}


def test_codes_stay_text():
    """Further columns of numbers become numbers, but article numbers and sizes that are named do not."""
    found = clean_items(_items(gtin=["885909950805", "0123"], size=["38", "40"], year=["2023", "2024"]), codes=["size"])
    assert found.frame.select("gtin", "size", "year").rows() == [("885909950805", "38", 2023), ("0123", "40", 2024)]


def test_ids_that_mean_nothing_or_were_rounded_are_noted():
    """An item called NA has no id, and ids in powers of ten may have been several."""
    ids = ["NA", "4.00638E+12", "0001"]
    items = clean_items(pl.DataFrame({"item_id": ids, "title": ["Salt", "Tea", "Pot"]}))
    assert items.frame["item_id"].to_list() == ids[1:]
    assert [note.split(",")[0] for note in items.report().notes] == [
        "1 ids are words for nothing",
        "1 ids are numbers that a spreadsheet has rounded",
    ]
