"""Releases, and the store that holds them. A release is an immutable folder with everything that a server needs.

Layout of a store (a folder, or any URL that fsspec reads)::

    <store>/CURRENT               the id of the release to serve, one line
    <store>/ROLLOUT               since when, and what was served before (`common.release.pointer`)
    <store>/<release id>/         one release
        manifest.json             its content, with sizes and SHA-256
        manifest.sig              the signature of the manifest, if it was signed
        encoder/  ranker/  fusion/  index/  behaviour/  catalogue.arrow

A release is written to a staging folder, fsynced, renamed into place, and only then named in CURRENT. So a crash at any
time leaves the store in the state before or after.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import fsspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import BadRelease
from common.release.manifest import MANIFEST, RELEASE_ID, Manifest, file_sha256, parse_manifest, read_manifest
from common.release.pointer import CURRENT, fsync, set_current
from common.security.signature import BadSignature, PublicKeys, sign

SIGNATURE: Final = "manifest.sig"
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Release:
    """A verified release on this machine's disk."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The release's id."""
        return self.manifest.release_id

    def file(self, name: str) -> Path:
        """Return the path of one file of the release; raises BadRelease if the manifest does not list it."""
        if name not in self.manifest.files:
            raise BadRelease(f"release {self.id} has no file {name!r}; rebuild it with `python -m pipeline build`")
        return self.path / name


def default_cache() -> Path:
    """Return the folder for copies of remote releases."""
    return Path.home() / ".cache/shortlist/releases"


def open_release(location: str, cache: Path | None = None, keys: PublicKeys | None = None) -> Release:
    """Find, download (if remote) and verify the release at ``location``.

    Args:
        location: Path or URL of a release, or of a store for its current release.
        cache: The folder for remote releases; default ``~/.cache/shortlist/releases``.
        keys: Keys of which one must have signed the release; None for unsigned ones too.

    Raises:
        BadRelease: There is no release, it has another format, a file is missing or altered, or it has no trusted
            signature; the message names the file.
    """
    try:
        root = _resolve(location)
        path = _download(root, cache or default_cache(), keys) if "://" in root else Path(root)
        manifest = read_manifest(path) if keys is None else _read_signed_manifest(path, keys)
        verify(path, manifest)
    except (OSError, ImportError, ValueError) as error:  # unreadable, or a protocol that fsspec does not know
        raise BadRelease(f"{location} cannot be read: {error}") from error
    return Release(path, manifest)


def verify(path: Path, manifest: Manifest) -> None:
    """Check that every file exists with the size and hash of the manifest; raises BadRelease naming the file."""
    for name, entry in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BadRelease(f"release {manifest.release_id} is incomplete: {file} is missing; copy or build it again")
        if file.stat().st_size != entry.bytes or file_sha256(file) != entry.sha256:
            raise BadRelease(f"release {manifest.release_id} is damaged: {file} was altered; copy or build it again")


def publish(
    staging: Path, store: Path, manifest: Manifest, *, current: bool = True, key: Ed25519PrivateKey | None = None
) -> Release:
    """Move a finished folder into the store as a release and make it current, atomically and durably.

    Args:
        staging: A folder on the store's file system with all files except the manifest; it is moved.
        store: The store; created if it does not exist.
        manifest: The manifest of the folder.
        current: Whether to make it current; otherwise it is only stored.
        key: Signs it before it is current, so that no server meets it unsigned; None leaves it as it is.
    """
    (staging / MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n")
    for path in [*staging.rglob("*"), staging]:
        fsync(path)
    store.mkdir(parents=True, exist_ok=True)
    final = store / manifest.release_id
    if _is_sound(final):  # the same content, so the same release, was published before
        shutil.rmtree(staging)
    else:
        shutil.rmtree(final, ignore_errors=True)
        staging.rename(final)
    fsync(store)
    if key is not None:
        sign_release(final, key)
    if current:
        set_current(store, manifest.release_id)
    return Release(final, read_manifest(final))


def copy_release(release: Release, store: str) -> None:
    """Copy a release to another store, a folder or a URL; its manifest comes last, so no one sees half of it.

    Raises:
        BadRelease: The store cannot be written.
    """
    filesystem, path = fsspec.url_to_fs(store.rstrip("/"))
    folder = f"{path}/{release.id}"
    try:
        filesystem.makedirs(folder, exist_ok=True)
        signature = [SIGNATURE] if (release.path / SIGNATURE).is_file() else []
        for name in [*release.manifest.files, *signature, MANIFEST]:
            if "/" in name:
                filesystem.makedirs(f"{folder}/{name.rpartition('/')[0]}", exist_ok=True)
            filesystem.put_file(str(release.path / name), f"{folder}/{name}")
    except (OSError, ValueError) as error:
        raise BadRelease(f"release {release.id} cannot be copied to {store}: {error}") from error


def _resolve(location: str) -> str:
    """Return the location of a store's current release, or of the release itself."""
    root = location.rstrip("/")
    filesystem, path = fsspec.url_to_fs(root)
    if filesystem.exists(f"{path}/{MANIFEST}"):
        return root
    if not filesystem.exists(f"{path}/{CURRENT}"):
        raise BadRelease(
            f"{location} has no release: it has neither {MANIFEST} nor {CURRENT}; "
            "build one with `python -m pipeline build --out …` or `make demo`"
        )
    current = filesystem.cat_file(f"{path}/{CURRENT}").decode(errors="replace").strip()
    if not RELEASE_ID.fullmatch(current) or not filesystem.exists(f"{path}/{current}/{MANIFEST}"):
        raise BadRelease(
            f"{location}/{CURRENT} names {current!r}, which is no release of the store; publish a release again"
        )
    return f"{root}/{current}"


def sign_release(path: Path, key: Ed25519PrivateKey) -> None:
    """Sign the release in a folder: write the signature of its manifest next to it, replacing an earlier one."""
    _write_signature(path, sign((path / MANIFEST).read_bytes(), key))


def _read_signed_manifest(path: Path, keys: PublicKeys) -> Manifest:
    """Read a manifest and check its signature over the same bytes; raises BadRelease."""
    content, file = (path / MANIFEST).read_bytes(), path / SIGNATURE
    _require_signature(keys, content, file.read_bytes() if file.is_file() else None, str(path))
    return parse_manifest(content, str(path))


def _require_signature(keys: PublicKeys, manifest: bytes, signature: bytes | None, origin: str) -> None:
    try:
        keys.require(manifest, signature)
    except BadSignature as error:
        raise BadRelease(f"the release at {origin} is refused: {error}") from error


def _write_signature(path: Path, signature: bytes) -> None:
    temporary = path / f".{SIGNATURE}.{os.getpid()}"
    temporary.write_bytes(signature)
    fsync(temporary)
    temporary.replace(path / SIGNATURE)
    fsync(path)


def _download(root: str, cache: Path, keys: PublicKeys | None) -> Path:
    """Copy a remote release into the cache once; an interrupted copy is never used."""
    filesystem, path = fsspec.url_to_fs(root)
    content = filesystem.cat_file(f"{path}/{MANIFEST}")
    signature = filesystem.cat_file(f"{path}/{SIGNATURE}") if filesystem.exists(f"{path}/{SIGNATURE}") else None
    if keys is not None:  # before anything large is copied
        _require_signature(keys, content, signature, root)
    manifest = parse_manifest(content, root)
    final = cache / manifest.release_id
    if _is_sound(final) and (final / MANIFEST).read_bytes() == content:
        if signature is not None:  # it may have been signed since
            _write_signature(final, signature)
        return final
    shutil.rmtree(final, ignore_errors=True)  # a damaged copy is downloaded again
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".") as folder:
        copy = Path(folder) / manifest.release_id
        for name in [*manifest.files, MANIFEST]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            with filesystem.open(f"{path}/{name}", "rb") as remote, (copy / name).open("wb") as local:
                shutil.copyfileobj(remote, local, _CHUNK_BYTES)
        if signature is not None:
            (copy / SIGNATURE).write_bytes(signature)
        verify(copy, manifest)
        with suppress(OSError):  # another process was faster, with the same copy
            copy.rename(final)
    return final


def _is_sound(path: Path) -> bool:
    try:
        verify(path, read_manifest(path))
    except BadRelease:
        return False
    return True
