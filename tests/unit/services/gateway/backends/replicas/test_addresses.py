"""The addresses of replicas in a setting."""

from __future__ import annotations

import pytest

from services.gateway.backends.replicas.addresses import split_addresses


@pytest.mark.parametrize(
    ("target", "addresses"),
    [
        ("shop:1", ["shop:1"]),
        ("dns:///shop:1", ["dns:///shop:1"]),
        ("a:1, b:2", ["a:1", "b:2"]),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", ["ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"]),
        ("a:1,", ["a:1", ""]),
    ],
)
def test_addresses_are_separated_by_commas(target: str, addresses: list[str]):
    """Each address is a target of its own; gRPC's own lists are split too."""
    assert split_addresses(target) == addresses
