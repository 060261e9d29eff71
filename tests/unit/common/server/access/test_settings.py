"""A server that others can reach says how it is secured."""

from __future__ import annotations

import pytest
from pydantic_settings import SettingsConfigDict

from common.server.settings import ServerSettings, load_settings


class ShopSettings(ServerSettings):
    """Settings with a prefix, so that other variables of the environment are not theirs."""

    model_config = SettingsConfigDict(env_prefix="SHORTLIST_SHOP_")


PAIR = ["--tls-certificate", "server.pem", "--tls-key", "server.key.pem"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "shop.example"])  # noqa: S104 - nothing listens
def test_beyond_loopback_a_server_needs_tls(host: str, capsys: pytest.CaptureFixture[str]):
    """Without TLS, an address that others can reach is refused with both remedies; with one of them it is taken."""
    with pytest.raises(SystemExit) as ended:
        load_settings(ShopSettings, "server", ["--host", host])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert f"--host {host} can be reached from other machines" in message
    assert "give --tls-certificate and --tls-key" in message
    assert "--insecure true" in message
    assert load_settings(ShopSettings, "server", ["--host", host, "--insecure", "true"]).tls() is None
    assert load_settings(ShopSettings, "server", ["--host", host, *PAIR]).tls() is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_a_server_needs_nothing(host: str):
    """A server that only this machine reaches starts without TLS and without a word."""
    assert load_settings(ShopSettings, "server", ["--host", host]).tls() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (PAIR[:2], "--tls-certificate and --tls-key: give both or neither"),
        (PAIR[2:], "--tls-certificate and --tls-key: give both or neither"),
        (["--tls-client-ca", "ca.pem"], "--tls-client-ca: client certificates need TLS"),
    ],
)
def test_half_of_tls_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    """A certificate without its key, and authorities for clients without TLS, are refused."""
    with pytest.raises(SystemExit):
        load_settings(ShopSettings, "server", arguments)
    assert message in capsys.readouterr().err
