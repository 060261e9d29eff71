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
from common.release.manifest import FORMAT, MANIFEST, Manifest, describe_files
from common.release.store import CURRENT, Release, open_release, set_current

MakeRelease = Callable[..., Release]


def edit_manifest(path: Path, **changes: Any) -> None:
    """Overwrite fields of a release's manifest."""
    manifest = json.loads((path / MANIFEST).read_bytes())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))


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


@pytest.mark.parametrize("keep", [0, 1, 100])
def test_a_truncated_manifest_is_noticed(make_release: MakeRelease, keep: int):
    """A manifest cut short is BadRelease and says that it cannot be read."""
    path = make_release().path
    (path / MANIFEST).write_bytes((path / MANIFEST).read_bytes()[:keep])
    with pytest.raises(BadRelease, match=r"manifest\.json cannot be read"):
        open_release(str(path))


@pytest.mark.parametrize("content", ["[]", f'{{"format": {FORMAT}}}', "\xff"])
def test_a_manifest_of_another_shape_is_refused(make_release: MakeRelease, content: str):
    """JSON that is no manifest, and bytes that are no JSON, are BadRelease."""
    path = make_release().path
    (path / MANIFEST).write_bytes(content.encode("latin-1"))
    with pytest.raises(BadRelease, match="cannot be read"):
        open_release(str(path))


def test_another_format_is_refused_by_its_number(make_release: MakeRelease):
    """A release of a later format is refused by that reason, whatever else its manifest holds."""
    path = make_release().path
    edit_manifest(path, format=FORMAT + 1, novelty="unknown field")
    with pytest.raises(BadRelease, match=f"format {FORMAT + 1}, this server reads {FORMAT}"):
        open_release(str(path))


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "./a", "a//b"])
def test_file_names_that_leave_the_release_are_refused(make_release: MakeRelease, name: str):
    """A manifest whose files lie elsewhere is BadRelease."""
    path = make_release().path
    edit_manifest(path, files={name: {"bytes": 1, "sha256": "0"}}, models={})
    with pytest.raises(BadRelease, match="outside of the release"):
        open_release(str(path))


@pytest.mark.parametrize("bad_id", ["../up", "a/b", "", ".hidden"])
def test_ids_that_are_no_folder_names_are_refused(make_release: MakeRelease, bad_id: str):
    """A release id that could lead elsewhere is BadRelease."""
    path = make_release().path
    edit_manifest(path, release_id=bad_id)
    with pytest.raises(BadRelease, match="release_id"):
        open_release(str(path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("release_id", "0123456789ab"),
        ("settings", {"seed": 8}),
        ("models", {}),
        ("files", {}),
        ("data", {"source": "other", "fingerprint": "f" * 64, "items": 3, "events": 5, "licence": "CC0-1.0"}),
    ],
)
def test_an_altered_manifest_is_refused(make_release: MakeRelease, field: str, value: Any):
    """A manifest whose id is not the one that its content makes is BadRelease and says so."""
    path = make_release().path
    changes = {field: value} | ({"models": {}} if field == "files" else {})
    edit_manifest(path, **changes)
    with pytest.raises(BadRelease, match=r"manifest\.json was altered: its content is that of"):
        open_release(str(path))


def test_a_model_s_precision_cannot_be_claimed_otherwise(make_release: MakeRelease):
    """A manifest that calls a model int8 which was published as fp32 is BadRelease."""
    path = make_release().path
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["models"]["encoder"]["precision"] = "int8"
    edit_manifest(path, models=manifest["models"])
    with pytest.raises(BadRelease, match="was altered"):
        open_release(str(path))


def test_what_was_measured_does_not_change_the_id(make_release: MakeRelease):
    """Metrics, the time and how exact an export is may be written anew: the release stays the same."""
    path = make_release().path
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["models"]["encoder"]["parity_max_abs_error"] = 1e-6
    edit_manifest(path, models=manifest["models"], metrics={"build_s": 3}, created_at="2026-02-02")
    assert open_release(str(path)).id == manifest["release_id"]


def test_a_model_without_its_file_is_refused(make_release: MakeRelease):
    """A manifest whose model is none of its files is BadRelease and names the model."""
    path = make_release().path
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["models"]["encoder"]["file"] = "elsewhere.onnx"
    edit_manifest(path, models=manifest["models"])
    with pytest.raises(BadRelease, match=r"encoder.*elsewhere\.onnx"):
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

    monkeypatch.setattr(releases, "_fsync", fail)
    with pytest.raises(OSError, match="no space"):
        make_release("b")
    monkeypatch.undo()

    assert open_release(str(tmp_path / "store")).id == first.id
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == sorted([CURRENT, first.id])


def test_current_is_set_only_to_what_is_there(make_release: MakeRelease, tmp_path: Path):
    """Going back to an earlier release is one call; an id that is not in the store is BadRelease."""
    first, _ = make_release("a"), make_release("b")
    set_current(tmp_path / "store", first.id)
    assert open_release(str(tmp_path / "store")).id == first.id
    with pytest.raises(BadRelease, match="has no release 'zzz'"):
        set_current(tmp_path / "store", "zzz")


def test_only_the_manifest_itself_is_not_described(tmp_path: Path):
    """Every file is described but the release's own manifest; one of that name further down is."""
    (tmp_path / "encoder").mkdir()
    for name in (MANIFEST, f"encoder/{MANIFEST}", "a"):
        (tmp_path / name).write_text("x")
    assert list(describe_files(tmp_path)) == ["a", f"encoder/{MANIFEST}"]


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
