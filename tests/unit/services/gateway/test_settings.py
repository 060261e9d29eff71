"""The gateway's settings."""

from __future__ import annotations

import pytest

from common.server.settings import load_settings
from services.gateway.profiles.profile_store import ITEM_KINDS, EventKind
from services.gateway.settings import Settings


def test_defaults_are_usable():
    """Without a word the gateway listens on its port and every kind that names an item is history."""
    settings = load_settings(Settings, "gateway", [])
    assert (settings.port, settings.metrics_port) == (50_051, 9_091)
    assert settings.history_kinds() == ITEM_KINDS


def test_kinds_of_history_are_read_from_a_list():
    """Kinds are separated by commas, with or without spaces."""
    settings = load_settings(Settings, "gateway", ["--history-events", "purchase, cart"])
    assert settings.history_kinds() == (EventKind.PURCHASE, EventKind.CART)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--history-events", "purchase,search"], "'search' is none of view, cart, purchase, rating"),
        (["--reserve-s", "1.5"], "--reserve-s must be below"),
        (["--candidates", "1001"], "--candidates"),
        (["--min-long-tail-share", "1.1"], "--min-long-tail-share"),
        (["--retrieval-share", "0"], "--retrieval-share"),
        (["--rankin-target", "x:1"], "the nearest known one is --ranking-target"),
    ],
)
def test_a_bad_setting_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    """A setting that cannot be used ends the program with code 2 and a message that names it."""
    with pytest.raises(SystemExit) as ended:
        load_settings(Settings, "gateway", arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_time_without_a_deadline_is_at_most_the_longest():
    """The default for calls without a deadline never passes the limit of any call."""
    settings = load_settings(Settings, "gateway", ["--request-timeout-s", "0.5"])
    assert settings.tuning().shares.default_s == pytest.approx(0.5)
