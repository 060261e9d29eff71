"""Where releases may be opened from, and whose signature they need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import BadRelease
from common.release.location import ReleaseOpener, store_of
from common.release.store import Release

MakeRelease = Callable[..., Release]
OUTSIDE = "outside of the server's --release-root"


def test_what_is_inside_the_root_opens(make_release: MakeRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A release, its store and relative paths inside the root open."""
    release = make_release()
    opener = ReleaseOpener([str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    for location in (str(release.path), str(tmp_path / "store"), "store", f"store/../store/{release.id}"):
        assert opener.open(location).id == release.id


@pytest.mark.parametrize(
    "location",
    [
        "/",
        "/etc/passwd",
        "..",
        "../secret",
        "inside/../../secret",
        "link",
        "link/deeper",
        "file:///etc",
        "simplecache::file:///etc",
        "memory://store",
        "http://169.254.169.254/latest",
        "\0",
    ],
)
def test_what_is_outside_is_refused_without_a_look(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Other folders, ways up, links that lead out and URLs are refused in the same words, existing or not."""
    root = tmp_path / "root"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    monkeypatch.chdir(root)
    with pytest.raises(BadRelease, match=OUTSIDE):
        ReleaseOpener([str(root)]).open(location)


@pytest.mark.parametrize(
    ("location", "inside"),
    [
        ("memory://shop/store", True),
        ("memory://shop/store/0123456789ab", True),
        ("memory://shop/storehouse", False),
        ("memory://shop/store/../other", False),
        ("memory://shop/store/%2e%2e/other", False),
        ("memory://shop/store?x=1", False),
        ("memory://shop", False),
        ("file://shop/store", False),
        ("/shop/store", False),
    ],
)
def test_a_root_may_be_a_url(location: str, inside: bool):
    """Locations below the URL are looked for; others, dots and escapes are refused."""
    with pytest.raises(BadRelease) as error:
        ReleaseOpener(["memory://shop/store"]).open(location)
    assert (OUTSIDE not in str(error.value)) == inside


def test_the_store_of_a_release_is_its_parent(make_release: MakeRelease, tmp_path: Path):
    """With a release its store's other releases may be activated; a store and a URL are taken as they are."""
    release = make_release()
    assert store_of(str(release.path)) == str(tmp_path / "store")
    assert store_of(str(tmp_path / "store")) == str(tmp_path / "store")
    assert store_of("s3://shop/store/0123456789ab") == "s3://shop/store/0123456789ab"
