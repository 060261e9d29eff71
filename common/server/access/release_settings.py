"""The settings of servers that open releases: from where, and signed by whom."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from common.release.location import ReleaseOpener, store_of
from common.security.addresses import is_loopback
from common.security.reloaded import Reloaded
from common.security.signature import read_public_keys
from common.server.rollout.stages import RolloutOptions
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

    release_cache: Path | None = Field(
        None,
        description="Folder for copies of releases from a URL, of this server alone: copies that it no longer serves "
        "are removed. Unset: ~/.cache/shortlist/releases, where all are kept.",
    )
    release_poll_s: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds between two looks at which release the store names; a new one is taken without a restart. "
        "0 serves the release of the start until ActivateRelease names another.",
    )
    release_canary_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the replicas, by a hash of their names, that take a new release first; 0: all at once.",
    )
    release_canary_pause_s: float = Field(
        300.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds by which the other replicas wait, in which a canary may refuse the release.",
    )
    release_trial_s: float = Field(
        900.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds after a new release was taken in which it is taken back if calls fail; 0 turns it off.",
    )
    release_max_failed_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="A new release is taken back if the share of its failed calls exceeds that of the release before "
        "by more than this.",
    )
    release_peers: str = Field(
        "",
        description="Address of all replicas of this service: one that refuses a release keeps the others from it. "
        "A name that resolves to all of them, or addresses with commas.",
    )
    replica_name: str = Field(
        "", description="Name of this replica, for the choice of canaries; by default the host's."
    )

    def rollout_options(self) -> RolloutOptions:
        """Return how the store is followed."""
        named = {"replica": self.replica_name} if self.replica_name else {}
        return RolloutOptions(
            self.release_poll_s,
            self.release_canary_share,
            self.release_canary_pause_s,
            self.release_trial_s,
            self.release_max_failed_share,
            **named,
        )

    def release_opener(self) -> ReleaseOpener:
        """Return what opens the releases; raises BadKey if the public keys cannot be used."""
        root = self.release_root
        if root is None and not is_loopback(self.host):
            root = store_of(self.release)
        file = self.release_public_key
        keys = None if file is None else Reloaded([file], lambda: read_public_keys(file))
        # The server's own release is always inside.
        return ReleaseOpener(None if root is None else [root, self.release], keys, self.release_cache)
