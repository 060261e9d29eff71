"""The settings of servers that open releases: from where, and signed by whom."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from common.release.location import ReleaseOpener, store_of
from common.security.addresses import is_loopback
from common.security.reloaded import Reloaded
from common.security.signature import read_public_keys
from common.server.settings import ServerSettings


class ReleaseServerSettings(ServerSettings):
    """The settings of a server that serves a release."""

    release: str = Field(
        "releases", min_length=1, description="Path or URL of a release, or of a store whose current release is served."
    )
    release_public_key: Path | None = Field(
        None,
        description="PEM file of public keys (Ed25519); only releases that one of them signed are served. Read again "
        "when it changes.",
    )
    release_root: str | None = Field(
        None,
        min_length=1,
        description="Folder or URL that ActivateRelease may name releases from. Unset: anywhere on loopback, beyond "
        "it the store of the release.",
    )

    def release_opener(self) -> ReleaseOpener:
        """Return what opens the releases; raises BadKey if the public keys cannot be used."""
        root = self.release_root
        if root is None and not is_loopback(self.host):
            root = store_of(self.release)
        file = self.release_public_key
        keys = None if file is None else Reloaded([file], lambda: read_public_keys(file))
        # The server's own release is always inside.
        return ReleaseOpener(None if root is None else [root, self.release], keys)
