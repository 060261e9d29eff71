"""A signed release from the commands that make it to the server that refuses all others, as docs/security.md has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2
from typer.testing import CliRunner

from common.release.layout import CATALOGUE
from common.release.store import Release, open_release
from common.security.signature import PublicKeys, read_public_keys
from pipeline.__main__ import app
from pipeline.release.config.build_settings import BuildSettings

REFUSED = grpc.StatusCode.FAILED_PRECONDITION


def _run(*arguments: str | Path) -> None:
    """Run a command of the pipeline."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the private key that `signing-key` made."""
    file = tmp_path_factory.mktemp("keys") / "signing.pem"
    _run("signing-key", "--out", file)
    return file


@pytest.fixture(scope="module")
def public(private: Path) -> Path:
    """Return the public key."""
    return private.with_name("signing.pem.pub")


@pytest.fixture(scope="module")
def keys(public: Path) -> PublicKeys:
    """Return the public key as a server reads it."""
    return read_public_keys(public)


@pytest.fixture
def signed(tiny_release: Path, private: Path, tmp_path: Path) -> Release:
    """Return a release that `sign` signed."""
    store = shutil.copytree(tiny_release, tmp_path / "signed")
    _run("sign", store, "--key", private)
    return open_release(str(store))


def _altered(release: Release, to: Path) -> Path:
    """Return a copy of a release with a byte flipped in its catalogue."""
    copy = shutil.copytree(release.path, to / release.id)
    content = bytearray((copy / CATALOGUE).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / CATALOGUE).write_bytes(content)
    return copy


async def test_a_signed_release_is_served_and_no_other_activated(
    serve: Any, signed: Release, public: Path, tiny_release: Path, history: list[str], tmp_path: Path
):
    """A server with the public key serves it, and refuses an altered and an unsigned release, with the reason."""
    unsigned, altered = open_release(str(tiny_release)).path, _altered(signed, tmp_path / "altered")

    def activation(location: Path) -> release_pb2.ActivateReleaseRequest:
        return release_pb2.ActivateReleaseRequest(location=str(location))

    async with serve(release=str(signed.path), release_public_key=public) as running:
        for location, reason in ((unsigned, "is refused: it is not signed"), (altered, f"{CATALOGUE} was altered")):
            await running.refuses(running.release.ActivateRelease(activation(location), timeout=30), REFUSED, reason)
        await running.release.ActivateRelease(activation(signed.path), timeout=30)
        response = await running.retrieve(history_item_ids=history, limit=3)
    assert response.release_id == signed.id
    assert len(response.candidates) == 3


def test_a_server_does_not_start_with_an_unsigned_release(public: Path, tiny_release: Path):
    """The program ends with 1, and its one error names the release, what it lacks and the trusted key."""
    flags = ("--release", str(tiny_release), "--release-public-key", str(public), "--port", "0", "--metrics-port", "0")
    command = (sys.executable, "-m", "services.retrieval", *flags)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own
    assert ended.returncode == 1
    (error,) = [line for line in ended.stderr.splitlines() if "cannot serve" in line]
    assert str(tiny_release) in error
    assert "it is not signed; a signature of the key" in error


def test_a_build_signs_what_it_makes_current(
    private: Path, keys: PublicKeys, tiny_settings: BuildSettings, tmp_path: Path
):
    """`build --signing-key` signs a new release, and also one that it finds built already."""
    data, store = tmp_path / "data", tmp_path / "store"
    data.mkdir()
    (data / "items.csv").write_text("item_id,title\n1,red candle\n2,white towel\n")
    build = ("build", "--source", "table", "--data", data, "--out", store, "--base-model", tiny_settings.base_model)
    _run(*build, "--signing-key", private)
    release = open_release(str(store), keys=keys)
    (release.path / "manifest.sig").unlink()
    _run(*build, "--signing-key", private)
    assert open_release(str(store), keys=keys).id == release.id
