"""WANDS in its published form."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset


def dropped(dataset: Dataset, table: str) -> dict[str, int]:
    """Return the counts of the reasons that dropped any row."""
    return {reason: part.rows for reason, part in dataset.report.tables[table].dropped.items() if part.rows}


def judged(dataset: Dataset, *columns: str) -> list[tuple[object, ...]]:
    """Return columns of the judgements."""
    assert dataset.judgements is not None
    return dataset.judgements.select(columns).rows()


@pytest.fixture
def wands(tmp_path: Path) -> Path:
    """Return a folder with WANDS' three files."""
    (tmp_path / "query.csv").write_text("query_id\tquery\tquery_class\n0\tsalon chair\tMassage Chairs\n1\trug \tRugs\n")
    (tmp_path / "product.csv").write_text(
        "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\tproduct_features"
        "\trating_count\taverage_rating\treview_count\n"
        "0\tsolid wood platform bed\tBeds\tFurniture / Beds\tgood , deep sleep\toverallwidth : 64\t15\t4.5\t15\n"
        "1\tall-clad 7 qt . slow cooker\tSlow Cookers|Pots\tKitchen\t<p>create &amp; cook</p>\tx : y\t100\t2.0\t98\n"
        "2\t\tRugs\tRugs\t\t\t\t\t\n"
    )
    (tmp_path / "label.csv").write_text(
        "id\tquery_id\tproduct_id\tlabel\n0\t0\t0\tExact\n1\t0\t1\tPartial\n2\t1\t1\tIrrelevant\n"
        "3\t1\t2\tExact\n4\t9\t1\tExact\n5\t0\t0\tPartial\n6\t1\t0\tPerhaps\n"
    )
    return tmp_path


def test_grades_products_for_queries(wands: Path):
    """Labels become grades, the first class the category, and each unusable row is counted."""
    dataset = prepare("wands", wands)
    assert judged(dataset, "query", "item_id", "relevance") == [
        ("rug", "1", 0.0),
        ("salon chair", "0", 1.0),
        ("salon chair", "1", 0.5),
    ]
    assert dataset.items.select("item_id", "category", "description", "language").rows() == [
        ("0", "Beds", "good , deep sleep", "en"),
        ("1", "Slow Cookers", "create & cook", "en"),
    ]
    assert dropped(dataset, "items") == {"no_title": 1}
    assert dropped(dataset, "judgements") == {"incomplete": 2, "unknown_item": 1, "repeated": 1}


def test_without_a_column_is_refused(wands: Path):
    """A file with commas instead of tabs is refused with the columns that it lacks."""
    (wands / "label.csv").write_text("id,query_id,product_id,label\n0,0,0,Exact\n")
    with pytest.raises(BadDataset, match=r"label\.csv lacks the column 'label', 'product_id', 'query_id'"):
        prepare("wands", wands)
