"""The ranking service's settings."""

from __future__ import annotations

from typing import Any

import pytest

from common.cpu import usable_cores
from common.server.settings import load_settings
from services.ranking.settings import Settings


def _load(*argv: Any) -> Any:
    return load_settings(Settings, "ranking", argv)


def test_defaults_fit_the_machine():
    """Without any setting there is a worker of one thread for each core."""
    settings = _load()
    assert settings.limits().workers == usable_cores()
    assert settings.options().session.threads == 1
    assert (settings.port, settings.metrics_port) == (50_053, 9_093)


def test_the_queue_holds_the_largest_request(capsys: pytest.CaptureFixture[str]):
    """A queue shorter than one request could never take it."""
    with pytest.raises(SystemExit) as exit_info:
        _load("--max-queued-pairs", "100")
    assert exit_info.value.code == 2
    assert "--max-queued-pairs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--change-stream", "redis://h:1/0", "--retrieval-target", "127.0.0.1:1"], "--change-stream and --retrieval"),
        (["--retrieval-target", "retrieval:50052"], "--retrieval-target retrieval:50052 is another machine's"),
        (["--texts-wait-s", "-1"], "--texts-wait-s"),
    ],
)
def test_where_texts_come_from_is_one_secured_place(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    """Two origins contradict each other, and one on another machine needs TLS."""
    with pytest.raises(SystemExit) as ended:
        _load(*arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
