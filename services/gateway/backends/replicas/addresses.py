"""The addresses of a service's replicas, as a setting gives them."""

from __future__ import annotations


def split_addresses(target: str) -> list[str]:
    """Return the addresses of a setting: ``a:1,b:2`` and gRPC's own ``ipv4:1.2.3.4:1,1.2.3.5:2`` are two each."""
    scheme = next((scheme for scheme in ("ipv4:", "ipv6:") if target.startswith(scheme)), "")
    return [scheme + address.strip() for address in target.removeprefix(scheme).split(",")]
