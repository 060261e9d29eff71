"""TLS on both sides of Envoy: to callers, and to gateways that ask for a certificate."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from common.security.certificates import TlsFiles
from common.server.channel import open_channel
from testing.edge.envoy_process import GATEWAY_NAME
from testing.security.certificates import Authority

pytestmark = pytest.mark.asyncio(loop_scope="session")
ADDRESS = "127.0.1.1"


class MountedSecret:
    """A folder as Kubernetes mounts a Secret: a new version replaces all files at once."""

    def __init__(self, folder: Path, files: TlsFiles, authority: Authority) -> None:
        self.folder = folder
        self._versions = 0
        folder.mkdir()
        self.replace(files, authority)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (folder / name).symlink_to(Path("..data") / name)

    def replace(self, files: TlsFiles, authority: Authority) -> None:
        """Mount another version."""
        self._versions += 1
        version = self.folder / f"..{self._versions}"
        version.mkdir()
        for name, file in {"tls.crt": files.certificate, "tls.key": files.key, "ca.crt": authority.file}.items():
            shutil.copyfile(str(file), version / name)
        link = self.folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.folder / "..data")


async def _serial_number(port: int) -> int:
    """Return the serial number of the certificate that Envoy shows."""
    text = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return x509.load_pem_x509_certificate(text.encode()).serial_number


async def test_both_sides_are_encrypted_and_certificates_are_renewed(new_fleet: Callable[[], Any], tmp_path: Path):
    """Envoy shows the gateway its own certificate, checks the gateway's name, and takes up a renewed one."""
    authority = Authority(tmp_path)
    gateway_files = authority.issue("gateway", dns=GATEWAY_NAME)
    inside = MountedSecret(tmp_path / "inside", authority.issue("edge", dns="x-edge.shop"), authority)
    public = MountedSecret(tmp_path / "public", authority.issue("public"), authority)
    values = {
        "tls": {"mode": "secrets", "secrets": dict.fromkeys(("gateway", "retrieval", "ranking", "edge"), "s")},
        "edge": {"tls": {"secret": "p"}},
    }
    values["tls"]["gatewayClientCertificates"] = True
    async with new_fleet() as fleet:
        files = {"tls-certificate": gateway_files.certificate, "tls-key": gateway_files.key}
        await fleet.add_gateway(ADDRESS, **files, **{"tls-client-ca": authority.file})
        envoy = await fleet.add_envoy(values, {"/tls": inside.folder, "/public-tls": public.folder})
        async with open_channel(f"127.0.0.1:{envoy.port}", authority.client()) as channel:
            stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
            assert len((await stub.Recommend(gateway_pb2.RecommendRequest(limit=2), timeout=30)).items) == 2
        before = await _serial_number(envoy.port)
        public.replace(authority.issue("public"), authority)
        async with asyncio.timeout(60):
            while await _serial_number(envoy.port) == before:  # noqa: ASYNC110 - another process signals no event
                await asyncio.sleep(0.05)
