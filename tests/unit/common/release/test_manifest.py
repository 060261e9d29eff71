"""The manifest of a release."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import BadRelease
from common.release.manifest import FORMAT, MANIFEST, describe_files, parse_manifest
from common.release.store import Release, open_release

MakeRelease = Callable[..., Release]


def edit_manifest(path: Path, **changes: Any) -> None:
    """Overwrite fields of a release's manifest."""
    manifest = json.loads((path / MANIFEST).read_bytes())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize("keep", [0, 1, 100])
def test_a_truncated_manifest_is_noticed(make_release: MakeRelease, keep: int):
    """A truncated manifest raises BadRelease, which says that it cannot be read."""
    path = make_release().path
    (path / MANIFEST).write_bytes((path / MANIFEST).read_bytes()[:keep])
    with pytest.raises(BadRelease, match=r"manifest\.json cannot be read"):
        open_release(str(path))


@pytest.mark.parametrize("content", ["[]", f'{{"format": {FORMAT}}}', "\xff"])
def test_a_manifest_of_another_shape_is_refused(make_release: MakeRelease, content: str):
    """JSON that is not a manifest, and bytes that are not JSON, raise BadRelease."""
    path = make_release().path
    (path / MANIFEST).write_bytes(content.encode("latin-1"))
    with pytest.raises(BadRelease, match="cannot be read"):
        open_release(str(path))


def test_another_format_is_refused_by_its_number(make_release: MakeRelease):
    """A release of a later format is refused for its format, whatever else is in its manifest."""
    path = make_release().path
    edit_manifest(path, format=FORMAT + 1, novelty="unknown field")
    with pytest.raises(BadRelease, match=f"format {FORMAT + 1}, this server reads {FORMAT}"):
        open_release(str(path))


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "./a", "a//b"])
def test_file_names_that_leave_the_release_are_refused(make_release: MakeRelease, name: str):
    """A manifest with files outside of the release raises BadRelease."""
    path = make_release().path
    edit_manifest(path, files={name: {"bytes": 1, "sha256": "0"}}, models={})
    with pytest.raises(BadRelease, match="outside of the release"):
        open_release(str(path))


@pytest.mark.parametrize("bad_id", ["../up", "a/b", "", ".hidden"])
def test_ids_that_are_not_folder_names_are_refused(make_release: MakeRelease, bad_id: str):
    """A release id that could name another folder raises BadRelease."""
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
    """A manifest whose id does not match its content raises BadRelease, which says so."""
    path = make_release().path
    changes = {field: value} | ({"models": {}} if field == "files" else {})
    edit_manifest(path, **changes)
    with pytest.raises(BadRelease, match=r"manifest\.json was altered: its content is that of"):
        open_release(str(path))


def test_a_models_precision_cannot_be_changed(make_release: MakeRelease):
    """A manifest that changes a published precision raises BadRelease."""
    path = make_release().path
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["models"]["encoder"]["precision"] = "int8"
    edit_manifest(path, models=manifest["models"])
    with pytest.raises(BadRelease, match="was altered"):
        open_release(str(path))


def test_measurements_do_not_change_the_id(make_release: MakeRelease):
    """Metrics, the time and the error of an export may change without changing the id."""
    path = make_release().path
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["models"]["encoder"]["parity_max_abs_error"] = 1e-6
    edit_manifest(path, models=manifest["models"], metrics={"build_s": 3}, created_at="2026-02-02")
    assert open_release(str(path)).id == manifest["release_id"]


def test_a_model_without_its_file_is_refused(make_release: MakeRelease):
    """A manifest that lacks the file of a model raises BadRelease, which names the model."""
    path = make_release().path
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["models"]["encoder"]["file"] = "elsewhere.onnx"
    edit_manifest(path, models=manifest["models"])
    with pytest.raises(BadRelease, match=r"encoder.*elsewhere\.onnx"):
        open_release(str(path))


def test_a_manifest_that_is_nested_too_deep_is_refused():
    """A hundred thousand lists in each other raise BadRelease, and no error of the parser."""
    with pytest.raises(BadRelease, match="cannot be read"):
        parse_manifest(b'{"format":' + b"[" * 100_000, "here")


def test_only_the_manifest_itself_is_not_described(tmp_path: Path):
    """Every file is described but the release's own manifest; one of that name further down is."""
    (tmp_path / "encoder").mkdir()
    for name in (MANIFEST, f"encoder/{MANIFEST}", "a"):
        (tmp_path / name).write_text("x")
    assert list(describe_files(tmp_path)) == ["a", f"encoder/{MANIFEST}"]
