"""Who may make a call, tried on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from structlog.testing import capture_logs

from common.security.callers import new_token
from common.server.channel import open_channel
from common.server.server import running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.security.certificates import Authority
from testing.security.web_tokens import AUDIENCE, ISSUER, Issuer

REQUEST = release_pb2.ActivateReleaseRequest()
OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED
TOKENS = {name: new_token() for name in ("reader", "deployer")}
ACCESS = f"""
[callers.reader]
token_sha256 = ["{TOKENS["reader"][1]}"]
scopes = ["read"]

[callers.deployer]
token_sha256 = ["{TOKENS["deployer"][1]}"]
certificate_names = ["deploy.shop"]
scopes = ["administer"]
"""
Access = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of callers."""
    (tmp_path / "access.toml").write_text(ACCESS)
    return tmp_path / "access.toml"


async def _activate(port: int, authorization: str | None = None, security: Any = None) -> grpc.aio.Call:
    """Make a call that needs `administer`, and return it when it has ended."""
    async with open_channel(f"127.0.0.1:{port}", security) as channel:
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        metadata = None if authorization is None else [("authorization", authorization)]
        call = stub.ActivateRelease(REQUEST, metadata=metadata, timeout=30)
        await call.code()
        return call


def _bearer(name: str) -> str:
    return f"Bearer {TOKENS[name][0]}"


@pytest.fixture
def serve(fake_service: Any) -> Callable[..., Any]:
    """Return a function that runs a server with the given settings."""

    async def nothing(*_: Any) -> None:
        await asyncio.sleep(0)

    return lambda behaviour=nothing, **given: running(
        fake_service(behaviour), ServerSettings(port=0, metrics_port=0, **given), Metrics("test")
    )


async def test_a_token_decides_what_its_caller_may_do(serve: Any, file: Path):
    """A valid token with the scope passes, without it is PERMISSION_DENIED; no or a bad token is UNAUTHENTICATED."""
    bad = "Bearer " + new_token()[0]
    async with serve(access_file=file) as server:
        for authorization, code in (
            (_bearer("deployer"), OK),
            (_bearer("deployer").replace("Bearer", "bearer"), OK),
            (_bearer("reader"), DENIED),
            (bad, UNAUTHENTICATED),
            (None, UNAUTHENTICATED),
            ("", UNAUTHENTICATED),
            ("Bearer", UNAUTHENTICATED),
            ("Bearer ", UNAUTHENTICATED),
            ("Basic " + TOKENS["deployer"][0], UNAUTHENTICATED),
            (TOKENS["deployer"][0], UNAUTHENTICATED),
            (_bearer("deployer") + "x", UNAUTHENTICATED),
        ):
            assert await (await _activate(server.port, authorization)).code() == code, authorization


async def test_a_refusal_tells_nothing_about_tokens(serve: Any, file: Path):
    """Every bad credential has the same words, and neither they nor the log have a token or a hash."""
    almost = _bearer("deployer")[:-1]
    with capture_logs() as logs:
        async with serve(access_file=file) as server:
            calls = [await _activate(server.port, bad) for bad in (almost, "Bearer x", "Bearer a.b.c", "")]
            details = {await call.details() for call in calls}
            await _activate(server.port, _bearer("deployer"))
    assert len(details) == 1
    written = f"{details} {logs}"
    assert not [part for token, digest in TOKENS.values() for part in (token, token[:-1], digest) if part in written]
    assert [line.get("code") for line in logs if line["event"] == "call"] == ["UNAUTHENTICATED"] * 4 + ["OK"]


async def test_health_is_open_and_reflection_is_not(serve: Any, file: Path):
    """Probes need no credentials; the list of services needs `read`."""
    async with serve(access_file=file) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=30)).status == 1
        statuses = aiter(health.Watch(health_pb2.HealthCheckRequest()))
        assert (await anext(statuses)).status == 1
        assert await _reflect(channel, None) == UNAUTHENTICATED
        assert await _reflect(channel, _bearer("deployer")) == DENIED
        assert await _reflect(channel, _bearer("reader")) == OK


async def _reflect(channel: grpc.aio.Channel, authorization: str | None) -> grpc.StatusCode:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    metadata = None if authorization is None else [("authorization", authorization)]
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")]), metadata=metadata
    )
    try:
        assert [answer async for answer in call]
    except grpc.aio.AioRpcError as error:
        return error.code()
    return OK


async def test_reflection_can_be_switched_off(serve: Any):
    """Without reflection the method does not exist."""
    async with serve(reflection=False) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        assert await _reflect(channel, None) == grpc.StatusCode.UNIMPLEMENTED


async def test_a_token_is_exchanged_by_its_file(serve: Any, file: Path, monkeypatch: pytest.MonkeyPatch):
    """After the file changed, the new token passes and the old one does not, without a restart."""
    monkeypatch.setattr("common.security.reloaded.time.monotonic", iter(range(0, 10_000, 2)).__next__)
    token, digest = new_token()
    async with serve(access_file=file) as server:
        assert await (await _activate(server.port, _bearer("deployer"))).code() == OK
        await asyncio.to_thread(file.write_text, ACCESS.replace(TOKENS["deployer"][1], digest))
        assert await (await _activate(server.port, "Bearer " + token)).code() == OK
        assert await (await _activate(server.port, _bearer("deployer"))).code() == UNAUTHENTICATED


async def test_a_certificate_names_the_caller(serving: Any, file: Path, authority: Authority):
    """A caller is known by its client certificate; one that is not listed is anonymous; a token goes first."""
    async with serving(access_file=file, tls_client_ca=authority.file) as server:
        deployer, other = authority.client("deploy.shop"), authority.client("other.shop")
        assert await (await _activate(server.port, None, deployer)).code() == OK
        assert await (await _activate(server.port, None, other)).code() == UNAUTHENTICATED
        assert await (await _activate(server.port, _bearer("deployer"), other)).code() == OK
        assert await (await _activate(server.port, _bearer("reader"), deployer)).code() == DENIED
        assert await (await _activate(server.port, "Bearer bad", deployer)).code() == UNAUTHENTICATED


async def test_web_tokens_decide_too(serve: Any, file: Path, tmp_path: Path):
    """A token of the issuer passes with its scopes, as do the tokens of the file."""
    issuer = Issuer()
    (tmp_path / "keys.json").write_text(issuer.key_set())
    settings = {"jwt_keys": str(tmp_path / "keys.json"), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    async with serve(access_file=file, **settings) as server:
        for scope, code in (("administer", OK), ("read", DENIED), ("", DENIED)):
            assert await (await _activate(server.port, f"Bearer {issuer.token(scope=scope)}")).code() == code
        assert (
            await (await _activate(server.port, f"Bearer {Issuer().token(scope='administer')}")).code()
            == UNAUTHENTICATED
        )
        assert await (await _activate(server.port, _bearer("deployer"))).code() == OK


async def test_beyond_loopback_nobody_administers_without_credentials(serve: Any):
    """A server on all interfaces refuses `administer` to strangers even if nothing is configured, and nothing else."""
    everywhere = {"host": "0.0.0.0", "insecure": True}  # noqa: S104 - what is tried
    async with serve(**everywhere) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        call = await _activate(server.port)
        assert await call.code() == UNAUTHENTICATED
        assert "needs the scope administer" in (await call.details() or "")
        assert await _reflect(channel, None) == OK
    async with serve() as server:
        assert await (await _activate(server.port)).code() == OK


async def test_strangers_may_be_given_scopes(serve: Any, file: Path):
    """Scopes for callers without credentials replace the default."""
    async with serve(access_file=file, anonymous_scopes="read") as server:
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            assert await _reflect(channel, None) == OK
        assert await (await _activate(server.port)).code() == UNAUTHENTICATED
    async with serve(anonymous_scopes="") as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        assert await _reflect(channel, None) == UNAUTHENTICATED


async def test_a_caller_beyond_its_limits_is_told_when_to_come_back(serve: Any):
    """Calls beyond a caller's concurrency are RESOURCE_EXHAUSTED with RetryInfo; when they end, there is room."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def behaviour(*_: Any) -> None:
        begun.set()
        await finish.wait()

    async with serve(behaviour, caller_max_calls=1) as server:
        first = asyncio.create_task(_activate(server.port))
        await begun.wait()
        refused = await _activate(server.port)
        assert await refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        status = await rpc_status.aio.from_call(refused)
        assert status.details[0].Unpack(info := error_details_pb2.RetryInfo())
        assert info.retry_delay.ToNanoseconds() > 0
        finish.set()
        assert await (await first).code() == OK
        assert await (await _activate(server.port)).code() == OK


async def test_a_caller_has_its_own_rate(serve: Any, file: Path):
    """The file's limits of a caller hold instead of the server's."""
    await asyncio.to_thread(file.write_text, ACCESS + "calls_per_s = 0.001\nburst = 2\n")
    async with serve(access_file=file, caller_calls_per_s=1e6) as server:
        codes = [await (await _activate(server.port, _bearer("deployer"))).code() for _ in range(3)]
    assert codes == [OK, OK, grpc.StatusCode.RESOURCE_EXHAUSTED]
