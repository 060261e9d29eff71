"""What a server's settings say of the releases that it opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import BadRelease
from common.release.store import Release, sign_release
from common.security.signature import BadKey, generate_keys, read_private_key
from common.server.access.release_settings import ReleaseServerSettings

MakeRelease = Callable[..., Release]
EVERYWHERE = {"host": "::", "insecure": True}


def test_a_public_key_refuses_unsigned_releases(make_release: MakeRelease, tmp_path: Path):
    """With a public key, a release opens when it is signed and not before."""
    release = make_release()
    generate_keys(tmp_path / "key", tmp_path / "key.pub")
    settings = ReleaseServerSettings(release=str(release.path), release_public_key=tmp_path / "key.pub")
    opener = settings.release_opener()
    with pytest.raises(BadRelease, match="not signed"):
        opener.open(str(release.path))
    sign_release(release.path, read_private_key(tmp_path / "key"))
    assert opener.open(str(release.path)).id == release.id


def test_a_bad_public_key_is_named(tmp_path: Path):
    """A file without a public key is refused by name."""
    with pytest.raises(BadKey, match="nothing"):
        ReleaseServerSettings(release_public_key=tmp_path / "nothing").release_opener()


def test_beyond_loopback_only_the_store_is_opened(make_release: MakeRelease, tmp_path: Path):
    """By default, other stores open on loopback alone; a root says otherwise in both directions."""
    mine, other = make_release("a"), make_release("b", store=tmp_path / "other")
    release, elsewhere = str(mine.path), str(other.path)
    assert ReleaseServerSettings(release=release).release_opener().open(elsewhere).id == other.id
    with pytest.raises(BadRelease, match="--release-root"):
        ReleaseServerSettings(release=release, **EVERYWHERE).release_opener().open(elsewhere)
    with pytest.raises(BadRelease, match="--release-root"):
        ReleaseServerSettings(release=release, release_root=str(mine.path)).release_opener().open(elsewhere)
    wide = ReleaseServerSettings(release=release, release_root=str(tmp_path), **EVERYWHERE).release_opener()
    assert wide.open(elsewhere).id == other.id
    beside = make_release("c")
    assert ReleaseServerSettings(release=release, **EVERYWHERE).release_opener().open(str(beside.path)).id == beside.id
