"""A short run of `make fuzz`, and that it sees the faults that it looks for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from benchmarks.reliability.fuzz import fuzz_servers
from benchmarks.reliability.fuzzed_files import expect_error_or_result, fuzz_loader, fuzz_prepare
from common.errors import BadRelease
from testing.fuzzing.rpcs import FuzzReport, contract_methods, fuzz_method


def test_no_input_shows_a_fault(tiny_release: Path, tmp_path: Path):
    """One round of random inputs for every method of every server, damaged releases and changed exports."""
    report = fuzz_servers(tiny_release, tmp_path, 0.0, "tests")
    store = tmp_path / "store"
    shutil.copytree(tiny_release, store)
    assert fuzz_loader(store, tmp_path, 0.1, "tests", report) > 0
    assert fuzz_prepare(tmp_path, 2.0, "tests", report) > 0
    assert not report.faults
    assert {path for path in report.sent if path.startswith("/shortlist.")} == set(contract_methods())
    assert min(report.sent.values()) >= 20


async def test_an_internal_error_is_seen():
    """A method that fails is reported once, with the seed of its first input."""

    class Failing(release_pb2_grpc.ReleaseServiceServicer):
        async def GetRelease(self, request: Any, context: Any) -> release_pb2.GetReleaseResponse:  # noqa: N802
            del request
            await context.abort(grpc.StatusCode.INTERNAL, "a fault")
            raise AssertionError

    server = grpc.aio.server()
    release_pb2_grpc.add_ReleaseServiceServicer_to_server(Failing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    report = FuzzReport()
    method = release_pb2.DESCRIPTOR.services_by_name["ReleaseService"].methods_by_name["GetRelease"]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await fuzz_method(channel, method, [], ["first", "second"], report)
    await server.stop(None)
    (fault,) = report.faults.values()
    assert "seed first: INTERNAL" in fault
    assert report.faulty == 2


@pytest.mark.parametrize(("error", "faults"), [(BadRelease("no"), 0), (OSError("no"), 1), (RecursionError("no"), 1)])
def test_an_error_that_is_not_ours_is_seen(error: Exception, faults: int):
    """A reader may raise the errors of `common/errors.py` and no others."""
    report = FuzzReport()

    def read() -> None:
        raise error

    expect_error_or_result("manifest", "seed", read, report)
    assert len(report.faults) == faults
