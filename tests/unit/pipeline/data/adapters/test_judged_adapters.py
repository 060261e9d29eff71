"""Sources of judged search results: WANDS, ESCI and Home Depot in their published forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters import prepare
from pipeline.data.adapters.esci import EXAMPLES, PRODUCTS
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


def test_wands_grades_products_for_queries(wands: Path):
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


def test_wands_without_a_column_is_refused(wands: Path):
    """A file with commas instead of tabs is told by the columns it lacks."""
    (wands / "label.csv").write_text("id,query_id,product_id,label\n0,0,0,Exact\n")
    with pytest.raises(BadDataset, match=r"label\.csv lacks the column 'label', 'product_id', 'query_id'"):
        prepare("wands", wands)


@pytest.fixture
def esci(tmp_path: Path) -> Path:
    """Return a folder with ESCI's two files."""
    example = ("example_id", "query", "query_id", "product_id", "product_locale", "esci_label", "small_version")
    rows = [
        (0, "pen", 1, "B1", "us", "E", 1, 1, "train"),
        (1, "pen", 1, "B2", "us", "S", 0, 1, "train"),
        (2, "bolígrafo", 2, "B1", "es", "C", 1, 1, "test"),
        (3, "ペン", 3, "B3", "jp", "I", 1, 1, "test"),
        (4, "pen", 1, "B9", "us", "E", 1, 1, "train"),
        (5, "pen", 1, "B3", "jp", "X", 1, 1, "train"),
    ]
    pl.DataFrame(rows, [*example, "large_version", "split"], orient="row").write_parquet(tmp_path / EXAMPLES)
    product = ("product_id", "product_title", "product_description", "product_bullet_point", "product_brand")
    products = [
        ("B1", "Gel pen", "<p>Smooth.</p>", "black\nink", "Pilot", "black", "us"),
        ("B1", "Bolígrafo de gel", None, "tinta negra", "Pilot", "", "es"),
        ("B2", "Pencil", None, None, "", None, "us"),
        ("B3", "ボールペン", None, None, None, None, "jp"),
        ("B4", None, None, None, None, None, "us"),
        ("B5", "Stylo", None, None, None, None, "fr"),
    ]
    names = [*product, "product_color", "product_locale"]
    pl.DataFrame(products, names, orient="row").write_parquet(tmp_path / PRODUCTS)
    return tmp_path


def test_esci_gains_are_the_papers(esci: Path):
    """Labels become gains, and judgements keep language, split and version."""
    assert judged(prepare("esci", esci), "query", "item_id", "relevance", "split", "language", "small_version") == [
        ("bolígrafo", "es:B1", 0.01, "test", "es", True),
        ("pen", "us:B1", 1.0, "train", "en", True),
        ("pen", "us:B2", 0.1, "train", "en", False),
        ("ペン", "jp:B3", 0.0, "test", "ja", True),
    ]


def test_esci_products_of_two_locales_are_two_items(esci: Path):
    """The same product has a text in each language; a description falls back on the bullet points."""
    dataset = prepare("esci", esci)
    assert dataset.items.select("item_id", "title", "brand", "description", "language", "colour").rows() == [
        ("es:B1", "Bolígrafo de gel", "Pilot", "tinta negra", "es", None),
        ("jp:B3", "ボールペン", None, None, "ja", None),
        ("us:B1", "Gel pen", "Pilot", "Smooth.", "en", "black"),
        ("us:B2", "Pencil", None, None, "en", None),
    ]
    assert dropped(dataset, "items") == {"unknown_locale": 1, "no_title": 1}
    assert dropped(dataset, "judgements") == {"incomplete": 1, "unknown_item": 1}


def test_esci_without_products_is_refused(esci: Path):
    """The missing file is named."""
    (esci / PRODUCTS).unlink()
    with pytest.raises(BadDataset, match=f"{PRODUCTS} does not exist"):
        prepare("esci", esci)


def test_home_depot_keeps_the_split(tmp_path: Path):
    """Judgements say which file they come from, and means of raters stay as they are."""
    pl.DataFrame({"item_id": ["1", "2"], "title": ["Angle <b>bracket</b>", "Deck paint"]}).write_parquet(
        tmp_path / "items.parquet"
    )
    for part, relevance in (("train", 1.67), ("test", 2.0)):
        rows = {"query": [part, part], "item_id": ["1", "9"], "relevance": [relevance, 1.0]}
        pl.DataFrame(rows).write_parquet(tmp_path / f"judgements_{part}.parquet")
    dataset = prepare("home-depot", tmp_path)
    assert judged(dataset, "query", "item_id", "relevance", "split") == [
        ("test", "1", 2.0, "test"),
        ("train", "1", 1.67, "train"),
    ]
    assert dataset.items["title"].to_list() == ["Angle bracket", "Deck paint"]
    assert dropped(dataset, "judgements") == {"unknown_item": 2}


def test_the_real_home_depot_is_prepared(real_data: Callable[[str], Path]):
    """Every judgement of the real files is accounted for."""
    dataset = prepare("home-depot", real_data("home-depot"))
    assert dataset.judgements is not None
    assert (dataset.items.height, dataset.judgements.height) == (54_667, 62_833)
    assert dataset.judgements["split"].value_counts().sort("split")["count"].to_list() == [10_523, 52_310]
