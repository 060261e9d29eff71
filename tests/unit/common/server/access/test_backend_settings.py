"""How a server connects to the services that it calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from common.security.certificates import TlsFiles
from common.server.access.backend_settings import BackendSettings


class _OneBackend(BackendSettings):
    target: str = "127.0.0.1:1"

    def backend_addresses(self) -> dict[str, Sequence[str]]:
        """Return the one address."""
        return {"--target": [self.target]}


def test_loopback_needs_no_tls():
    """By default connections are plain, which only this machine sees."""
    assert _OneBackend().backend_security().is_plain
    assert BackendSettings().backend_addresses() == {}


def test_the_security_is_what_the_settings_say():
    """Authorities turn on TLS; certificate, name and token are shown and checked."""
    settings = _OneBackend(
        target="other:1",
        backend_ca=Path("ca"),
        backend_certificate=Path("c"),
        backend_key=Path("k"),
        backend_name="n",
        backend_token_file=Path("t"),
    )
    security = settings.backend_security()
    assert (security.tls, security.server_name, security.token_file) == (True, "n", Path("t"))
    assert security.files == TlsFiles(Path("c"), Path("k"), Path("ca"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "other:1"}, "--target other:1 is another machine's"),
        ({"backend_certificate": Path("c"), "backend_key": Path("k")}, "it needs TLS; give --backend-ca"),
        ({"backend_ca": Path("ca"), "backend_key": Path("k")}, "give both or neither"),
    ],
)
def test_half_a_security_is_refused(fields: dict[str, Any], message: str):
    """A message names the flag and the remedy."""
    with pytest.raises(ValidationError, match=message):
        _OneBackend(**fields)


def test_a_connection_in_the_clear_has_to_be_wanted():
    """With --insecure another machine is called without TLS."""
    assert _OneBackend(target="other:1", insecure=True).backend_security().is_plain
