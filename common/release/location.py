"""Where releases may be opened from on a request, and whose signature they need."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from common.errors import BadRelease
from common.release.manifest import MANIFEST, RELEASE_ID
from common.release.store import Release, default_cache, open_release
from common.security.reloaded import Reloaded
from common.security.signature import PublicKeys


class ReleaseOpener:
    """Opens releases for a server.

    Args:
        roots: Folders and URLs that locations must be within; None for any location.
        keys: Keys of which one must have signed a release; None for unsigned ones too.
        cache: Folder for copies of releases from URLs, of this server alone; None for the one that servers share.
    """

    def __init__(
        self,
        roots: Sequence[str] | None = None,
        keys: Reloaded[PublicKeys] | None = None,
        cache: Path | None = None,
    ) -> None:
        self._cache = cache
        self._roots = None if roots is None else [*roots, str(cache or default_cache())]
        self._keys = keys

    def open(self, location: str) -> Release:
        """Return the verified release at a location.

        Raises:
            BadRelease: It is outside of the roots, not signed by a trusted key, or cannot be opened.
        """
        inside = location if self._roots is None else _inside(location, self._roots)
        return open_release(inside, self._cache, None if self._keys is None else self._keys.get())

    def remove_copies_except(self, release_ids: Collection[str]) -> None:
        """Remove the copies of other releases from this server's own folder; a shared one is left alone."""
        if self._cache is None or not self._cache.is_dir():
            return
        for copy in self._cache.iterdir():
            if RELEASE_ID.fullmatch(copy.name) and copy.name not in release_ids:
                shutil.rmtree(copy, ignore_errors=True)


def store_of(release: str) -> str:
    """Return the store that a location is in: of a release on this machine its parent, else the location itself."""
    if "://" not in release and (Path(release) / MANIFEST).is_file():
        return str(Path(release).resolve().parent)
    return release


def _inside(location: str, roots: Sequence[str]) -> str:
    """Return the location with links resolved; raises BadRelease if it is outside of the roots."""
    for root in roots:
        if "://" in root and _is_below(location, root.rstrip("/")):
            return location
        if "://" not in root and "::" not in location and "://" not in location:
            path = _resolved(location)
            if path is not None and path.is_relative_to(Path(root).resolve()):
                return str(path)
    raise BadRelease("location: it is outside of the server's --release-root; name a release inside it")


def _resolved(location: str) -> Path | None:
    try:
        return Path(location).resolve()
    except (OSError, ValueError, RuntimeError):  # a null byte, a loop of links
        return None


def _is_below(url: str, root: str) -> bool:
    """Return whether a URL is ``root`` or below it; one with dots, escapes or a chain of protocols is not."""
    rest = url.removeprefix(root)
    if rest == url and url != root:
        return False
    is_plain = not any(part in ("..", ".") for part in rest.split("/")) and not set(rest) & set("%?#\\:")
    return is_plain and (not rest or rest.startswith("/"))
