"""Which release of a store is to be served: the pointer that servers and whole fleets follow.

Two files of the store, a folder or any URL that fsspec reads, hold it::

    CURRENT    the id of the release to serve, one line
    ROLLOUT    JSON: the same id, the one before, since when, and whether roll-outs are paused

CURRENT alone decides. ROLLOUT is written first, and counts only if it names the same release.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import fsspec

from common.errors import BadRelease
from common.release.manifest import MANIFEST, RELEASE_ID

CURRENT: Final = "CURRENT"
ROLLOUT: Final = "ROLLOUT"


class Pointer(NamedTuple):
    """Where a store's pointer points.

    Attributes:
        release_id: The release to serve.
        previous_id: The release before; empty if it is not known.
        set_at_s: Since when, in seconds since 1970; None if it is not known.
        paused: Whether servers keep the release that they serve.
    """

    release_id: str
    previous_id: str = ""
    set_at_s: float | None = None
    paused: bool = False


def read_pointer(store: str | Path) -> Pointer:
    """Return the pointer of a store; raises BadRelease if it has none or cannot be read."""
    try:
        content = _read(store, CURRENT)
        rollout = _parsed(_read(store, ROLLOUT))
    except (OSError, ImportError, ValueError) as error:
        raise BadRelease(f"{store}/{CURRENT} cannot be read: {error}") from error
    if content is None:
        raise BadRelease(f"{store} has no {CURRENT}: it is no store; build one with `python -m pipeline build --out …`")
    release_id = content.decode(errors="replace").strip()
    if not RELEASE_ID.fullmatch(release_id):
        raise BadRelease(f"{store}/{CURRENT} names {release_id!r}, which is no release; publish a release again")
    return rollout if rollout.release_id == release_id else Pointer(release_id, paused=rollout.paused)


def set_current(store: str | Path, release_id: str) -> None:
    """Make a release of the store the current one, atomically and durably; raises BadRelease if it is missing."""
    if not RELEASE_ID.fullmatch(release_id) or not _exists(store, f"{release_id}/{MANIFEST}"):
        raise BadRelease(f"{store} has no release {release_id!r}")
    try:
        before = read_pointer(store)
    except BadRelease:  # the first release of the store
        before = Pointer("")
    previous = before.previous_id if before.release_id == release_id else before.release_id
    _write_rollout(store, Pointer(release_id, previous, datetime.now(UTC).timestamp(), before.paused))
    _write(store, CURRENT, f"{release_id}\n".encode())


def set_paused(store: str | Path, *, paused: bool) -> None:
    """Have the servers that follow the store keep their releases, or follow it again; raises BadRelease."""
    _write_rollout(store, read_pointer(store)._replace(paused=paused))


def _write_rollout(store: str | Path, pointer: Pointer) -> None:
    since = None if pointer.set_at_s is None else datetime.fromtimestamp(pointer.set_at_s, UTC).isoformat()
    content = {
        "release": pointer.release_id,
        "previous": pointer.previous_id,
        "set_at": since,
        "paused": pointer.paused,
    }
    _write(store, ROLLOUT, (json.dumps(content) + "\n").encode())


def _parsed(content: bytes | None) -> Pointer:
    """Read a ROLLOUT; raises ValueError if it is damaged."""
    if content is None:
        return Pointer("")
    rollout = json.loads(content)
    if not isinstance(rollout, dict):
        raise ValueError(f"{ROLLOUT} is no JSON object")  # noqa: TRY004 - one error for everything that is damaged
    previous, since = str(rollout.get("previous", "")), rollout.get("set_at")
    return Pointer(
        str(rollout.get("release", "")),
        previous if RELEASE_ID.fullmatch(previous) else "",
        datetime.fromisoformat(since).timestamp() if isinstance(since, str) else None,
        rollout.get("paused") is True,
    )


def _read(store: str | Path, name: str) -> bytes | None:
    """Return the content of a file of the store; None if it does not exist."""
    filesystem, path = fsspec.url_to_fs(str(store).rstrip("/"))
    try:
        content: bytes = filesystem.cat_file(f"{path}/{name}")
    except FileNotFoundError:
        return None
    return content


def _exists(store: str | Path, name: str) -> bool:
    filesystem, path = fsspec.url_to_fs(str(store).rstrip("/"))
    filesystem.invalidate_cache()  # another program may have written it
    return bool(filesystem.exists(f"{path}/{name}"))


def _write(store: str | Path, name: str, content: bytes) -> None:
    """Replace a file of the store: on a disk by renaming, durably; object storage replaces objects as a whole."""
    if "://" in str(store):
        filesystem, path = fsspec.url_to_fs(str(store).rstrip("/"))
        filesystem.pipe_file(f"{path}/{name}", content)
        return
    folder = Path(store)
    temporary = folder / f".{name}.{os.getpid()}"
    temporary.write_bytes(content)
    fsync(temporary)
    temporary.replace(folder / name)
    fsync(folder)


def fsync(path: Path) -> None:
    """Write a file or the entries of a folder through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
