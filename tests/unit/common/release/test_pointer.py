"""Which release of a store is to be served."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from common.errors import BadRelease
from common.release.pointer import CURRENT, ROLLOUT, Pointer, read_pointer, set_current, set_paused
from common.release.store import Release, copy_release

MakeRelease = Callable[..., Release]


@pytest.fixture(params=["folder", "url"])
def store(request: pytest.FixtureRequest, make_release: MakeRelease, tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """Return a store without a pointer, on a disk and at a URL, with the ids of its two releases."""
    first, second = make_release("a"), make_release("b")
    if request.param == "folder":
        (tmp_path / "store" / CURRENT).unlink()
        (tmp_path / "store" / ROLLOUT).unlink()
        yield str(tmp_path / "store"), first.id, second.id
        return
    for release in (first, second):
        copy_release(release, "memory://shop/releases")
    yield "memory://shop/releases", first.id, second.id
    fsspec.filesystem("memory").rm("/shop", recursive=True)


def test_the_pointer_says_since_when_and_what_was_before(store: tuple[str, str, str]):
    """The first release has none before it; setting the same one again keeps the one before."""
    place, first, second = store
    set_current(place, first)
    assert read_pointer(place)[:2] == (first, "")
    for _ in range(2):
        set_current(place, second)
        assert read_pointer(place)[:2] == (second, first)
    assert abs((read_pointer(place).set_at_s or 0) - time.time()) < 3_600


def test_a_pause_outlasts_a_new_release(store: tuple[str, str, str]):
    """A release that is published meanwhile waits too; resuming ends the pause."""
    place, first, second = store
    set_current(place, first)
    set_paused(place, paused=True)
    assert read_pointer(place).paused
    set_current(place, second)
    assert read_pointer(place)[:2] == (second, first)
    assert read_pointer(place).paused
    set_paused(place, paused=False)
    assert not read_pointer(place).paused


def test_current_alone_decides(make_release: MakeRelease, tmp_path: Path):
    """A ROLLOUT of another release is not believed, and one that cannot be read is named."""
    first, second = make_release("a"), make_release("b")
    folder = tmp_path / "store"
    (folder / CURRENT).write_text(first.id)
    assert read_pointer(folder) == Pointer(first.id)
    (folder / ROLLOUT).write_text("[]")
    with pytest.raises(BadRelease, match=ROLLOUT):
        read_pointer(folder)
    (folder / ROLLOUT).unlink()
    (folder / CURRENT).write_text(f"{second.id}\n")
    assert read_pointer(folder) == Pointer(second.id)


@pytest.mark.parametrize("content", [None, "", "../../etc", "no release"])
def test_a_store_without_a_release_is_refused(tmp_path: Path, content: str | None):
    """A missing or a senseless CURRENT is BadRelease that names it."""
    if content is not None:
        (tmp_path / CURRENT).write_text(content)
    with pytest.raises(BadRelease, match=CURRENT):
        read_pointer(tmp_path)


def test_a_release_that_is_not_there_is_never_pointed_to(store: tuple[str, str, str]):
    """The pointer stays as it was."""
    place, first, _ = store
    set_current(place, first)
    for wrong in ("0123456789ab", "../shop"):
        with pytest.raises(BadRelease, match="has no release"):
            set_current(place, wrong)
    assert read_pointer(place).release_id == first
