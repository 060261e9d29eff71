"""When a replica takes a new release: the stages of a roll-out."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RolloutOptions:
    """How a server follows its store.

    Attributes:
        poll_s: Seconds between two looks at the pointer, give or take a fifth; 0 for never.
        canary_share: The share of replicas that take a new release first.
        canary_pause_s: By how many seconds the others wait.
        trial_s: For how many seconds after it was taken a release can be taken back.
        max_failed_share: By how much the share of failed calls may exceed that of the release before.
        replica: The name of this replica, of which a hash says whether it is a canary.
    """

    poll_s: float = 0.0
    canary_share: float = 0.0
    canary_pause_s: float = 300.0
    trial_s: float = 900.0
    max_failed_share: float = 0.1
    replica: str = field(default_factory=socket.gethostname)

    @property
    def wait_s(self) -> float:
        """How long this replica waits once a new release may be taken."""
        return 0.0 if not self.canary_share or self.is_canary else self.canary_pause_s

    @property
    def is_canary(self) -> bool:
        """Whether this replica is one of those that take a new release first."""
        return hash_share(self.replica) < self.canary_share


def hash_share(name: str) -> float:
    """Return a number in [0, 1) that depends on the name alone and is spread evenly over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7]) / 2**56
