"""The shop's rules from a shell, against a real gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shortlist.cli.__main__ import main

from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import running_gateway

_RULES = {
    "rules": [
        {"rule_id": "no-39", "kind": "RULE_KIND_BLOCK", "items": {"item_ids": ["item-39"]}, "countries": ["DE"]},
        {"rule_id": "up", "kind": "RULE_KIND_BOOST", "items": {"brands": ["a", "b", "c", "d"]}, "factor": 2},
    ]
}


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[str]:
    """Return the address of a gateway over fake services."""
    backends = Backends()
    await backends.start()
    settings = Settings(
        port=0,
        metrics_port=0,
        retrieval_target=backends.retrieval_target,
        ranking_target=backends.ranking_target,
        profiles=str(tmp_path / "profiles.db"),
        default_timeout_s=10,
    )
    async with running_gateway(settings) as client:
        yield client.target
    await backends.stop()


async def _run(*words: str) -> int:
    return await asyncio.to_thread(main, list(words))


async def test_rules_are_put_listed_tried_and_deleted(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The JSON that `list` prints is what `put` takes."""
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(_RULES))
    assert await _run("rules", "try", "--target", target, str(file), "--query", "tea", "--country", "DE") == 0
    out = capsys.readouterr().out
    assert "request 1: without item-39; with item-29" in out
    assert "1 of 1 requests would change; nothing was changed" in out
    assert await _run("rules", "put", "--target", target, str(file), "--if-version", "0") == 0
    assert "2 rules put; version 1" in capsys.readouterr().out
    assert await _run("rules", "list", "--target", target) == 0
    out = capsys.readouterr().out
    assert "brands a, b, c and 1 more; factor 2" in out
    assert "2 rules, version 1" in out
    assert await _run("recommend", "--target", target, "--country", "DE", "--explain", "--limit", "1") == 0
    assert "rule no-39: removed item-39" in capsys.readouterr().out
    assert await _run("rules", "list", "--json", "--target", target) == 0
    file.write_text(capsys.readouterr().out.replace('"version": "1"', '"note": "n"', 1))
    assert await _run("rules", "delete", "--target", target, "no-39", "up") == 0
    assert "2 rules deleted" in capsys.readouterr().out


async def test_a_bad_file_is_one_line(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Nothing is sent."""
    file = tmp_path / "rules.json"
    file.write_text('{"rules": [{"rule": 1}]}')
    assert await _run("rules", "put", "--target", target, str(file)) == 1
    assert "rules.json" in capsys.readouterr().err
