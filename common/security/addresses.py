"""Which addresses only this machine can reach."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is a loopback address or `localhost`; any other name counts as reachable by others."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def target_is_loopback(target: str) -> bool:
    """Return whether a gRPC target ``host:port`` is on loopback; targets with a scheme are not."""
    host, separator, _ = target.rpartition(":")
    return is_loopback(host if separator else target)
