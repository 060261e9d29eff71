"""A fleet that follows a store in object storage, against a server that speaks S3."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from common.release.pointer import read_pointer, set_current
from common.release.store import Release, copy_release, open_release
from testing.server_process import free_port

TOP = Path(__file__).parents[3]
STORE = "s3://shop/releases"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Run moto's S3 server with an empty bucket; returns the URL of a store in it."""
    own = TOP / ".venv-fleet" / "bin" / "moto_server"
    program = str(own) if own.exists() else shutil.which("moto_server")
    if program is None or importlib.util.find_spec("s3fs") is None:
        pytest.skip("moto_server or s3fs is not installed; `make test-fleet` installs both")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "storage.log").open("w") as log:
        process = subprocess.Popen([program, "--port", str(port)], stdout=log, stderr=log)  # noqa: S603 - of our own environment
        try:
            _await_answer(url, process)
            fsspec.filesystem("s3").mkdir("shop")
            yield STORE
        finally:
            process.kill()
            process.wait()
            fsspec.get_filesystem_class("s3").clear_instance_cache()


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
        except urllib.error.URLError:
            continue
        return
    pytest.fail("moto_server ended")


async def test_a_release_in_a_bucket_reaches_every_replica(fleet: Any, storage: str, tmp_path: Path):
    """It is copied into each server's own folder, and the copies of releases that are no longer served are removed."""
    releases = [open_release(str(fleet.store / name)) for name in (fleet.first, fleet.second, fleet.third)]
    await asyncio.to_thread(_publish, releases[0])
    await fleet.start(storage, **{"release-cache": tmp_path / "copies"})
    for before, release in itertools.pairwise(releases):
        await asyncio.to_thread(_publish, release)
        assert read_pointer(storage)[:2] == (release.id, before.id)
        await fleet.until(lambda answers, wanted=release.id: {one.release.release_id for one in answers} == {wanted})
    assert not any(answer.degradations for answer in fleet.answers)
    assert {answer.release_id for answer in fleet.answers} == {release.id for release in releases}
    copies = list((tmp_path / "copies").iterdir())
    assert len(copies) == 4
    for folder in copies:
        assert {copy.name for copy in folder.iterdir()} == {releases[1].id, releases[2].id}


def _publish(release: Release) -> None:
    copy_release(release, STORE)
    set_current(STORE, release.id)
