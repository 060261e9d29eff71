"""The commands that sign releases."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import BadRelease
from common.release.store import open_release
from common.security.signature import read_public_keys
from pipeline.__main__ import app


def test_a_release_is_signed_on_the_command_line(tiny_release: Path, tmp_path: Path):
    """`signing-key` makes a pair, and `sign` signs a store's current release by it."""
    store, key = tmp_path / "store", tmp_path / "signing.pem"
    shutil.copytree(tiny_release, store)
    runner = CliRunner()
    made = runner.invoke(app, ["signing-key", "--out", str(key)])
    assert made.exit_code == 0, made.output
    keys = read_public_keys(tmp_path / "signing.pem.pub")
    with pytest.raises(BadRelease, match="not signed"):
        open_release(str(store), keys=keys)
    signed = runner.invoke(app, ["sign", str(store), "--key", str(key)])
    assert signed.exit_code == 0, signed.output
    assert open_release(str(store), keys=keys).path.parent == store
