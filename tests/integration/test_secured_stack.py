"""The three services with mutual TLS and a list of callers, as processes of their own."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from shortlist.release.v1 import release_pb2
from shortlist.release.v1.release_pb2_grpc import ReleaseServiceStub
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from common.security.callers import new_token
from common.server.channel import open_channel
from pipeline.local_services import LocalServices, local_services
from testing.security.certificates import Authority

REQUEST = gateway_pb2.RecommendRequest(history_item_ids=["dairy-milk-red-0"], limit=3)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tokens of `shop` and `deploy`, and `access.toml`, which lists them and the gateway."""
    folder = tmp_path_factory.mktemp("tokens")
    entries = ['[callers.gateway]\ncertificate_names = ["localhost"]\nscopes = ["recommend", "read", "administer"]\n']
    for name, scopes in (("shop", '["recommend", "record"]'), ("deploy", '["administer", "read"]')):
        token, digest = new_token()
        (folder / name).write_text(token)
        entries.append(f'[callers.{name}]\ntoken_sha256 = ["{digest}"]\nscopes = {scopes}\n')
    (folder / "access.toml").write_text("\n".join(entries))
    return folder


@pytest.fixture(scope="module")
def services(
    tiny_release: Path, authority: Authority, tokens: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServices]:
    """Return the three services, which show one another a certificate and ask every client for one."""
    files = authority.issue("shop")
    environment = {
        "SHORTLIST_LOCAL_TLS_CERTIFICATE": str(files.certificate),
        "SHORTLIST_LOCAL_TLS_KEY": str(files.key),
        "SHORTLIST_LOCAL_TLS_CA": str(authority.file),
        "SHORTLIST_LOCAL_TLS_CLIENT_CA": str(authority.file),
        "SHORTLIST_LOCAL_ACCESS_FILE": str(tokens / "access.toml"),
        "SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "15",
    }
    folder = tmp_path_factory.mktemp("services")
    with local_services(tiny_release, folder, environment, authority.client("supervisor")) as running:
        yield running


async def test_the_gateway_answers_from_both_stages(services: LocalServices, authority: Authority, tokens: Path):
    """A caller with certificate and token gets an answer of both stages, where the gateway's certificate admits it."""
    async with open_channel(services.targets["gateway"], authority.client("caller", tokens / "shop")) as channel:
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        answer = await stub.Recommend(REQUEST, timeout=20)
    assert len(answer.items) == 3
    assert not answer.degradations


async def test_without_a_certificate_nobody_is_answered(services: LocalServices, authority: Authority):
    """Callers without TLS or without a certificate reach none of the three."""
    for target in services.targets.values():
        for security in (None, authority.client()):
            async with open_channel(target, security) as channel:
                call = gateway_pb2_grpc.RecommendationServiceStub(channel).Recommend(REQUEST, timeout=20)
                assert await call.code() == grpc.StatusCode.UNAVAILABLE


async def test_only_administrators_change_what_is_served(services: LocalServices, authority: Authority, tokens: Path):
    """Activation and catalogue writes need `administer` on whichever server they are tried; then they work."""
    activation = release_pb2.ActivateReleaseRequest(location="nowhere")
    item = retrieval_pb2.UpsertItemsRequest(items=[retrieval_pb2.Item(item_id="jam", title="Plum jam")])
    expected = {None: grpc.StatusCode.UNAUTHENTICATED, "shop": grpc.StatusCode.PERMISSION_DENIED, "deploy": None}
    for token, code in expected.items():
        security = authority.client("caller", tokens / token if token else None)
        for target in services.targets.values():
            async with open_channel(target, security) as channel:
                call = ReleaseServiceStub(channel).ActivateRelease(activation, timeout=20)
                assert await call.code() == (code or grpc.StatusCode.FAILED_PRECONDITION)
        async with open_channel(services.targets["retrieval"], security) as channel:
            write = retrieval_pb2_grpc.RetrievalServiceStub(channel).UpsertItems(item, timeout=20)
            assert await write.code() == (code or grpc.StatusCode.OK)


async def test_metrics_are_behind_mutual_tls(services: LocalServices, authority: Authority):
    """A scraper with a certificate reads the metrics of all three."""
    files = authority.issue("scraper")
    assert files.certificate is not None
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(files.certificate, files.key)

    def read(target: str) -> str:
        with urllib.request.urlopen(f"https://{target}/metrics", context=context, timeout=20) as answer:
            return str(answer.read().decode())

    for name, target in services.metrics.items():
        assert f"shortlist_{name}_requests_total" in await asyncio.to_thread(read, target)
