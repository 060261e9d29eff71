"""The three services with TLS, as processes of their own."""

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

from common.server.channel import open_channel
from pipeline.local_services import LocalServices, local_services
from testing.security.certificates import Authority

REQUEST = gateway_pb2.RecommendRequest(history_item_ids=["dairy-milk-red-0"], limit=3)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def services(
    tiny_release: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServices]:
    """Return the three services, which show one another a certificate and ask every client for one."""
    files = authority.issue("shop")
    environment = {
        "SHORTLIST_LOCAL_TLS_CERTIFICATE": str(files.certificate),
        "SHORTLIST_LOCAL_TLS_KEY": str(files.key),
        "SHORTLIST_LOCAL_TLS_CA": str(authority.file),
        "SHORTLIST_LOCAL_TLS_CLIENT_CA": str(authority.file),
        "SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "15",
    }
    folder = tmp_path_factory.mktemp("services")
    with local_services(tiny_release, folder, environment, authority.client("supervisor")) as running:
        yield running


async def test_the_gateway_answers_over_mutual_tls_from_both_stages(services: LocalServices, authority: Authority):
    """A caller with a certificate gets an answer of both stages, which the gateway reached over TLS."""
    async with open_channel(services.targets["gateway"], authority.client("caller")) as channel:
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
