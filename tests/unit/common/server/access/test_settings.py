"""A server that others can reach says how it is secured."""

from __future__ import annotations

import pytest
from pydantic_settings import SettingsConfigDict

from common.security.callers import Scope
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--jwt-keys", "https://login.example/keys"], "give all three or none"),
        (
            ["--jwt-keys", "http://login.example", "--jwt-issuer", "i", "--jwt-audience", "a"],
            "keys over http could be anybody's",
        ),
        (["--anonymous-scopes", "read,write"], "'write' is not one of recommend, record, read, administer"),
        (["--host", "::", "--insecure", "true", "--anonymous-scopes", "administer"], "needs credentials beyond"),
        (["--caller-calls-per-s", "-1"], "--caller-calls-per-s"),
    ],
)
def test_access_settings_that_would_open_a_door_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    """Keys that anybody could replace, unknown scopes, and administration by strangers are refused."""
    with pytest.raises(SystemExit):
        load_settings(ShopSettings, "server", arguments)
    assert message in capsys.readouterr().err


def test_strangers_administer_on_loopback_alone():
    """Without a word about access, callers without credentials do everything on loopback, and not beyond it."""
    everywhere = load_settings(ShopSettings, "server", ["--host", "::", "--insecure", "true"])
    assert everywhere.access_control()._anonymous.scopes == set(Scope) - {Scope.ADMINISTER}
    assert load_settings(ShopSettings, "server", []).access_control()._anonymous.scopes == set(Scope)
