"""The gateway's settings."""

from __future__ import annotations

import pytest

from common.release.event_weights import HISTORY_KINDS, EventKind
from common.server.settings import load_settings
from services.gateway.settings import Settings


def test_defaults_are_usable():
    """By default the gateway uses its own ports, and every kind with an item is history."""
    settings = load_settings(Settings, "gateway", [])
    assert (settings.port, settings.metrics_port) == (50_051, 9_091)
    assert settings.history_kinds() == HISTORY_KINDS


def test_kinds_of_history_are_read_from_a_list():
    """Kinds are separated by commas, with or without spaces."""
    settings = load_settings(Settings, "gateway", ["--history-events", "purchase, cart"])
    assert settings.history_kinds() == (EventKind.PURCHASE, EventKind.CART)


def test_replicas_on_loopback_need_no_tls():
    """Several addresses of this machine are accepted like one."""
    settings = load_settings(Settings, "gateway", ["--ranking-target", "127.0.0.1:1,localhost:2"])
    assert not settings.backend_security().tls


def test_the_longest_pause_bounds_the_first():
    """A breaker's first pause is never longer than its longest."""
    options = load_settings(Settings, "gateway", ["--breaker-max-pause-s", "0.1"]).breaker_options()
    assert (options.first_pause_s, options.max_pause_s) == (0.1, 0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--history-events", "purchase,search"], "'search' is not one of view, favourite, cart, rating, purchase"),
        (["--reserve-s", "1.5"], "--reserve-s must be below"),
        (["--candidates", "1001"], "--candidates"),
        (["--min-long-tail-share", "1.1"], "--min-long-tail-share"),
        (["--retrieval-share", "0"], "--retrieval-share"),
        (["--retrieval-target", "a:1,,b:2"], "write host:port"),
        (["--retry-share", "1.5"], "--retry-share"),
        (["--rankin-target", "x:1"], "did you mean --ranking-target?"),
        (["--ranking-target", "ranking:50053"], "--ranking-target ranking:50053 is another machine's"),
        (["--ranking-target", "127.0.0.1:1,ranking:2"], "127.0.0.1:1,ranking:2 is another machine's"),
        (["--backend-certificate", "a.pem", "--backend-key", "a.key"], "it needs TLS; give --backend-ca"),
        (["--backend-ca", "ca.pem", "--backend-key", "a.key"], "--backend-key: give both or neither"),
    ],
)
def test_a_bad_setting_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    """An invalid setting ends the program with code 2 and a message that names it."""
    with pytest.raises(SystemExit) as ended:
        load_settings(Settings, "gateway", arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_default_timeout_is_at_most_the_request_timeout():
    """The timeout of calls without a deadline never exceeds that of any call."""
    settings = load_settings(Settings, "gateway", ["--request-timeout-s", "0.5"])
    assert settings.recommender_options().shares.default_timeout_s == pytest.approx(0.5)


@pytest.mark.parametrize("remedy", [["--backend-ca", "ca.pem"], ["--insecure", "true"]])
def test_other_machines_are_called_over_tls_or_knowingly_without(remedy: list[str]):
    """Backends on other machines need TLS, or a word that it is to be without."""
    arguments = ["--ranking-target", "ranking:50053", "--retrieval-target", "retrieval:50052", *remedy]
    settings = load_settings(Settings, "gateway", arguments)
    assert settings.backend_security().tls == ("--backend-ca" in remedy)
