"""Signed releases: only those of a trusted key open."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from common.errors import BadRelease
from common.release import store as releases
from common.release.manifest import MANIFEST
from common.release.store import SIGNATURE, Release, open_release, sign_release
from common.security.signature import PublicKeys, generate_keys, read_private_key, read_public_keys

MakeRelease = Callable[..., Release]


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """Return the file of a private key."""
    generate_keys(tmp_path / "key", tmp_path / "key.pub")
    return tmp_path / "key"


@pytest.fixture
def keys(private: Path) -> PublicKeys:
    """Return the trusted key."""
    return read_public_keys(private.with_name("key.pub"))


def test_a_signed_release_opens(make_release: MakeRelease, private: Path, keys: PublicKeys):
    """A release opens once it is signed, also by servers that ask for no signature."""
    release = make_release()
    with pytest.raises(BadRelease, match=f"{release.id} is refused: it is not signed"):
        open_release(str(release.path), keys=keys)
    sign_release(release.path, read_private_key(private))
    assert open_release(str(release.path), keys=keys).id == release.id
    assert open_release(str(release.path.parent), keys=keys).id == release.id
    assert open_release(str(release.path)).id == release.id


def test_a_release_is_signed_before_it_is_current(
    make_release: MakeRelease, private: Path, keys: PublicKeys, monkeypatch: pytest.MonkeyPatch
):
    """Whoever reads the store while a release is published with a key never meets it unsigned."""
    met: list[str] = []

    def set_current(store: Path, release_id: str) -> None:
        met.append(open_release(f"{store}/{release_id}", keys=keys).id)

    monkeypatch.setattr(releases, "set_current", set_current)
    release = make_release(key=read_private_key(private))
    unsigned = release.path / SIGNATURE
    unsigned.unlink()
    make_release(key=read_private_key(private))  # the same content, published before
    assert met == [release.id] * 2


def test_an_altered_manifest_is_refused(make_release: MakeRelease, private: Path, keys: PublicKeys):
    """A field that the release's id does not cover is covered by the signature."""
    release = make_release()
    sign_release(release.path, read_private_key(private))
    manifest = release.path / MANIFEST
    manifest.write_text(manifest.read_text().replace('"created_at": "2026', '"created_at": "2027'))
    assert open_release(str(release.path)).id == release.id
    with pytest.raises(BadRelease, match="altered"):
        open_release(str(release.path), keys=keys)


def test_an_altered_file_is_refused(make_release: MakeRelease, private: Path, keys: PublicKeys):
    """Files are bound to the signature by their hashes in the manifest."""
    release = make_release()
    sign_release(release.path, read_private_key(private))
    (release.path / "encoder/model.onnx").write_text("model b")
    with pytest.raises(BadRelease, match=r"model\.onnx was altered"):
        open_release(str(release.path), keys=keys)


def test_anothers_signature_is_refused(make_release: MakeRelease, private: Path, keys: PublicKeys):
    """The signature of one release does not admit another."""
    first, second = make_release("a"), make_release("b")
    sign_release(first.path, read_private_key(private))
    shutil.copy(first.path / SIGNATURE, second.path / SIGNATURE)
    with pytest.raises(BadRelease, match="altered"):
        open_release(str(second.path), keys=keys)


def test_a_remote_release_is_checked_before_it_is_copied(
    make_release: MakeRelease, private: Path, keys: PublicKeys, tmp_path: Path
):
    """A release at a URL is copied with its signature; without one nothing is copied, and one signed later opens."""
    release, cache = make_release(), tmp_path / "cache"
    url = f"memory://signed/{release.id}"

    def upload() -> None:
        for file in release.path.rglob("*"):
            if file.is_file():
                with fsspec.open(f"{url}/{file.relative_to(release.path)}", "wb") as remote:
                    remote.write(file.read_bytes())

    upload()
    with pytest.raises(BadRelease, match="not signed"):
        open_release(url, cache, keys)
    assert not cache.exists()
    assert open_release(url, cache).id == release.id
    sign_release(release.path, read_private_key(private))
    upload()
    opened = open_release(url, cache, keys)
    assert opened.path == cache / release.id
    assert open_release(str(opened.path), keys=keys).id == release.id
