"""Which addresses only this machine can reach."""

from __future__ import annotations

import pytest

from common.security.addresses import is_loopback, target_is_loopback


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - a value, nothing listens
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
    ],
)
def test_only_loopback_is_loopback(host: str, loopback: bool):
    """Loopback addresses and `localhost` are; every other name is reachable by others until shown otherwise."""
    assert is_loopback(host) == loopback


@pytest.mark.parametrize(
    ("target", "loopback"),
    [
        ("127.0.0.1:50051", True),
        ("[::1]:50051", True),
        ("localhost", True),
        ("ranking:50053", False),
        ("dns:///127.0.0.1:50051", False),
    ],
)
def test_targets_are_judged_by_their_host(target: str, loopback: bool):
    """The port plays no part; a target with a scheme is not looked into."""
    assert target_is_loopback(target) == loopback
