"""What the files of a release say."""

from __future__ import annotations

from pathlib import Path

from common.release.store import open_release
from services.playground.servers.release_files import release_files, rows


def test_a_release_is_described(tiny_release: Path):
    """Figures, data and the model card are those of the release's files."""
    release = open_release(str(tiny_release))
    found = release_files(str(tiny_release), release.id)
    assert found is not None
    assert found["data"]["items"] == 240
    assert found["model_card"].startswith("# Model card")
    assert "validation" in [table["name"] for table in found["metrics"]]


def test_what_cannot_be_read_here_is_none(tiny_release: Path, tmp_path: Path):
    """A release elsewhere, a missing one, and another one than the server's are not described."""
    assert release_files("s3://bucket/release", "x") is None
    assert release_files(str(tmp_path), "x") is None
    assert release_files(str(tiny_release), "another") is None


def test_nested_figures_are_rows():
    """A row has the names on the way to its value."""
    assert rows({"a": {"b": 1, "c": [1, 2]}, "d": []}) == [("a · b", 1), ("a · c", "1, 2")]
    assert rows(3.5) == [("", 3.5)]
