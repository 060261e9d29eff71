"""Releases and the store they lie in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from common.errors import BadRelease
from common.release import store as releases
from common.release.manifest import MANIFEST, Manifest
from common.release.pointer import CURRENT, ROLLOUT, set_current
from common.release.store import Release, open_release

MakeRelease = Callable[..., Release]


def test_a_published_release_is_opened_by_store_and_by_path(make_release: MakeRelease, tmp_path: Path):
    """A store opens as its current release, and a release by its own path."""
    first, second = make_release("a"), make_release("b")
    assert open_release(str(tmp_path / "store")).id == second.id
    assert open_release(f"{first.path}/").id == first.id


def test_files_are_named_by_the_manifest(make_release: MakeRelease):
    """A file of the release has a path; one that the manifest does not list is BadRelease."""
    release = make_release()
    assert release.file("retrieval.json").read_text() == '{"marker": "a"}'
    with pytest.raises(BadRelease, match=r"fusion\.json"):
        release.file("fusion.json")


def test_a_flipped_byte_is_noticed(make_release: MakeRelease):
    """One altered byte, at the same size, is BadRelease and names the file."""
    file = make_release().path / "encoder/model.onnx"
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    with pytest.raises(BadRelease, match=r"damaged.*encoder/model\.onnx"):
        open_release(str(file.parents[1]))


def test_a_missing_file_is_noticed(make_release: MakeRelease):
    """A file that is gone is BadRelease and named."""
    path = make_release().path
    (path / "retrieval.json").unlink()
    with pytest.raises(BadRelease, match=r"incomplete.*retrieval\.json"):
        open_release(str(path))


def test_nothing_there_says_what_to_do(tmp_path: Path):
    """A folder without a release is BadRelease and says how to build one."""
    with pytest.raises(BadRelease, match="python -m pipeline build"):
        open_release(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("content", [b"", b"gone", b"../escape", b".hidden", b"\xff\xfe"])
def test_current_that_points_nowhere_is_refused(make_release: MakeRelease, tmp_path: Path, content: bytes):
    """A store whose CURRENT names no release of it is BadRelease and quotes CURRENT."""
    release = make_release()
    for elsewhere in (tmp_path / "escape", tmp_path / "store/.hidden"):
        shutil.copytree(release.path, elsewhere)
    (tmp_path / "store" / CURRENT).write_bytes(content)
    with pytest.raises(BadRelease, match="CURRENT names"):
        open_release(str(tmp_path / "store"))


@pytest.mark.parametrize("location", ["nonsense://store", "s3://bucket/store"])
def test_an_unreadable_protocol_is_a_bad_release(location: str):
    """A URL that cannot be read here is BadRelease and quotes the URL."""
    with pytest.raises(BadRelease, match=location):
        open_release(location)


def test_publishing_the_same_again_changes_nothing(make_release: MakeRelease, tmp_path: Path):
    """The same content has the same id and leaves the release as it was, and the staging folder is consumed."""
    first = make_release()
    before = (first.path / MANIFEST).stat()
    assert make_release().id == first.id
    assert (first.path / MANIFEST).stat().st_ino == before.st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_publishing_again_mends_a_damaged_release(make_release: MakeRelease):
    """Publishing content whose release was damaged puts the sound one in its place."""
    first = make_release()
    (first.path / "retrieval.json").write_text("altered")
    make_release()
    assert open_release(str(first.path)).id == first.id


def test_a_crash_before_the_rename_leaves_the_store_as_it_was(
    make_release: MakeRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A publication that fails before its end leaves the earlier release current and whole."""
    first = make_release("a")

    def fail(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(releases, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        make_release("b")
    monkeypatch.undo()

    assert open_release(str(tmp_path / "store")).id == first.id
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == sorted([CURRENT, ROLLOUT, first.id])


def test_current_is_set_only_to_what_is_there(make_release: MakeRelease, tmp_path: Path):
    """Going back to an earlier release is one call; an id that is not in the store is BadRelease."""
    first, _ = make_release("a"), make_release("b")
    set_current(tmp_path / "store", first.id)
    assert open_release(str(tmp_path / "store")).id == first.id
    with pytest.raises(BadRelease, match="has no release 'zzz'"):
        set_current(tmp_path / "store", "zzz")


@pytest.fixture
def remote(make_release: MakeRelease, tmp_path: Path) -> Iterator[Release]:
    """Copy a store to fsspec's memory filesystem, as ``memory://shop``; return its release as it was here."""
    release = make_release()
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(tmp_path / "store"), "/shop", recursive=True)
    yield release
    filesystem.rm("/shop", recursive=True)


def test_a_remote_store_is_copied_once(remote: Release, tmp_path: Path):
    """A release behind a URL is copied into the cache, verified, and read from there the next time."""
    cache = tmp_path / "cache"
    opened = open_release("memory://shop", cache)
    assert opened.path == cache / remote.id
    assert opened.file("retrieval.json").read_text() == '{"marker": "a"}'
    fsspec.filesystem("memory").rm(f"/shop/{remote.id}/retrieval.json")
    assert open_release("memory://shop", cache).id == remote.id
    assert [path.name for path in cache.iterdir()] == [remote.id]


def test_a_remote_release_with_a_missing_file_is_never_cached(remote: Release, tmp_path: Path):
    """A copy that breaks off is BadRelease and leaves nothing in the cache."""
    fsspec.filesystem("memory").rm(f"/shop/{remote.id}/retrieval.json")
    with pytest.raises(BadRelease, match=r"retrieval\.json"):
        open_release("memory://shop", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_remote_release_with_an_altered_file_is_never_cached(remote: Release, tmp_path: Path):
    """A remote file that was altered is BadRelease and leaves nothing in the cache."""
    fsspec.filesystem("memory").pipe(f"/shop/{remote.id}/retrieval.json", b'{"marker": "b"}')
    with pytest.raises(BadRelease, match="damaged"):
        open_release("memory://shop", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_remote_manifest_cannot_write_outside_of_the_cache(remote: Release, tmp_path: Path):
    """A remote manifest that names a file above the release is refused before anything is written."""
    filesystem = fsspec.filesystem("memory")
    manifest = json.loads(filesystem.cat_file(f"/shop/{remote.id}/{MANIFEST}"))
    manifest |= {"files": {"../../planted": {"bytes": 1, "sha256": "0"}}, "models": {}}
    filesystem.pipe(f"/shop/{remote.id}/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(BadRelease, match="outside of the release"):
        open_release("memory://shop", tmp_path / "cache")
    assert not (tmp_path / "planted").exists()


def test_a_copy_that_came_second_is_dropped(remote: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where another process put the same release into the cache meanwhile, that one is used."""
    cache = tmp_path / "cache"

    def verify_late(path: Path, manifest: Manifest) -> None:
        if not (cache / manifest.release_id).exists():
            shutil.copytree(path, cache / manifest.release_id)

    monkeypatch.setattr(releases, "verify", verify_late)
    assert open_release("memory://shop", cache).id == remote.id
    assert [path.name for path in cache.iterdir()] == [remote.id]
