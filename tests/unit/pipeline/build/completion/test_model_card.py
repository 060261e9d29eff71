"""The model card says what the release is made of and whom it favours."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE, MODEL_CARD
from common.release.store import Release, open_release


@pytest.fixture(scope="session")
def release(tiny_release: Path) -> Release:
    return open_release(str(tiny_release))


@pytest.fixture(scope="session")
def card(release: Release) -> str:
    return release.file(MODEL_CARD).read_text()


def table_after(card: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its head."""
    lines = [line for line in card.partition(heading)[2].partition("\n#")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[2:]]


def test_the_manifest_lists_the_card(release: Release):
    """It is a file of the release like any other, verified by hash."""
    assert MODEL_CARD in release.manifest.files


@pytest.mark.parametrize(
    "part", ["## Data", "Licence: none", "## Intended use", "## Models", "## Quality", "## Known biases", "tiny shop"]
)
def test_every_part_is_there(card: str, part: str):
    """Data, licence, use, models, quality and biases each have their place."""
    assert part in card


def test_models_are_those_of_the_manifest(card: str, release: Release):
    """Each model stands with its file and precision."""
    rows = {row[0]: row[1:3] for row in table_after(card, "## Models")}
    assert rows == {name: [model.file, model.precision] for name, model in release.manifest.models.items()}


def test_shares_by_band_and_brand_are_of_a_whole(card: str):
    """Head, middle and tail make up everything, and so do the two brands of the shop."""
    for heading in ("### Exposure by popularity", "### Exposure by brand"):
        rows = table_after(card, heading)
        columns = list(zip(*[[float(cell.rstrip("%")) for cell in row[1:]] for row in rows], strict=True))
        assert all(sum(column) == pytest.approx(100.0, abs=0.2) for column in columns)
    assert {row[0] for row in rows} == {"acme", "orchard"}


def test_brands_are_shared_as_in_the_catalogue(card: str, release: Release):
    """A brand's share of the items is that of the catalogue."""
    brands = Catalogue.open(release.file(CATALOGUE)).table["brand"].to_pylist()
    rows = {row[0]: row[1] for row in table_after(card, "### Exposure by brand")}
    assert rows["acme"] == f"{brands.count('acme') / len(brands):.1%}"
