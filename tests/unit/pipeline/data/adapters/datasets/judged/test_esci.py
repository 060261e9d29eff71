"""ESCI in its published form."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters import prepare
from pipeline.data.adapters.datasets.judged.esci import EXAMPLES, PRODUCTS
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


def test_gains_are_the_papers(esci: Path):
    """Labels become gains, and judgements keep language, split and version."""
    assert judged(prepare("esci", esci), "query", "item_id", "relevance", "split", "language", "small_version") == [
        ("bolígrafo", "es:B1", 0.01, "test", "es", True),
        ("pen", "us:B1", 1.0, "train", "en", True),
        ("pen", "us:B2", 0.1, "train", "en", False),
        ("ペン", "jp:B3", 0.0, "test", "ja", True),
    ]


def test_products_of_two_locales_are_two_items(esci: Path):
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


def test_without_products_is_refused(esci: Path):
    """The missing file is named."""
    (esci / PRODUCTS).unlink()
    with pytest.raises(BadDataset, match=f"{PRODUCTS} does not exist"):
        prepare("esci", esci)
