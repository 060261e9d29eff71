"""A real Envoy with the configuration that the chart deploys; only addresses and folders are this machine's."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from common.errors import NotReady
from testing.server_process import free_port

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "shortlist"
TOOLS: Final = ROOT / ".venv-deploy"
ENVOY: Final = TOOLS / "bin" / "envoy"
HELM: Final = TOOLS / "helm-4" / "helm"
# The name under which the chart's Envoy looks for gateways, for a release `x` in the namespace `shop`.
GATEWAY_NAME: Final = "x-gateway-headless.shop"
_POLL_S: Final = 0.05


class EnvoyProcess:
    """Envoy as the chart runs it.

    Args:
        folder: For its configuration and its log.
        gateway_port: The port of all gateways.
        name_server_port: The DNS server that knows the gateways' addresses.
        values: Values of the chart.
        folders: Folders by their path in the container, such as `/tls`.

    Attributes:
        port: Where callers connect.
        internal_port: Readiness and metrics.
    """

    def __init__(
        self,
        folder: Path,
        gateway_port: int,
        name_server_port: int,
        values: dict[str, Any] | None = None,
        folders: dict[str, Path] | None = None,
    ) -> None:
        self.port, self.internal_port, self.admin_port = free_port(), free_port(), free_port()
        self._folder = folder
        self._log = folder / "envoy.log"
        self._process: asyncio.subprocess.Process | None = None
        ports = {8443: self.port, 8081: self.internal_port, 9901: self.admin_port, 50051: gateway_port}
        for name, content in rendered_configuration(values or {}).items():
            text = content
            for path, place in {"/etc/envoy": folder, **(folders or {})}.items():
                text = text.replace(f"{path}/".encode(), f"{place}/".encode())
                text = text.replace(f"path: {path}}}".encode(), f"path: {place}}}".encode())
            if name == "envoy.yaml":
                text = json.dumps(_on_this_machine(yaml.safe_load(text), ports, name_server_port)).encode()
            (folder / name).write_bytes(text)

    async def start(self) -> None:
        """Start it, without waiting for a gateway."""
        command = [ENVOY, "--config-path", self._folder / "envoy.yaml", "--log-level", "warn"]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *map(str, command), "--disable-hot-restart", "--concurrency", "1", stdout=log, stderr=log
            )

    async def ready(self, timeout_s: float = 60) -> None:
        """Wait until it has a gateway that serves.

        Raises:
            NotReady: It ended, or has none within ``timeout_s``.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while await self.get("/ready") != 200:  # noqa: ASYNC110, PLR2004 - another process signals no event
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            raise NotReady(f"Envoy is not ready after {timeout_s} s: {self._log.read_text()[-2_000:]}") from error

    async def get(self, path: str) -> int:
        """Return the status of a path of its internal port; 0 if it does not answer.

        Raises:
            NotReady: It ended.
        """
        if self._process is None or self._process.returncode is not None:
            raise NotReady(f"Envoy does not run: {self._log.read_text()[-2_000:]}")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.internal_port)
        except OSError:
            return 0
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        return int(line.split()[1]) if line else 0

    async def close(self) -> None:
        """Kill it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def rendered_configuration(values: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of Envoy that the chart makes from values; raises ValueError with Helm's message."""
    given = {**values, "edge": {"enabled": True, **values.get("edge", {})}}
    done = subprocess.run(  # noqa: S603 - Helm as the Makefile installed it, and our own chart
        [str(HELM), "template", "x", str(CHART), "--namespace", "shop", "--values", "-"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ValueError(done.stderr)
    (found,) = (one for one in yaml.safe_load_all(done.stdout) if one and "envoy.yaml" in (one.get("data") or {}))
    texts = {name: content.encode() for name, content in found["data"].items()}
    return texts | {name: base64.b64decode(content) for name, content in found["binaryData"].items()}


def _on_this_machine(configuration: dict[str, Any], ports: dict[int, int], name_server_port: int) -> dict[str, Any]:
    """Return the configuration with free ports of the loopback interface and a DNS server of its own."""
    text = json.dumps(configuration).replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - it is taken away
    for port, mine in ports.items():
        text = text.replace(f'"port_value": {port}}}', f'"port_value": {mine}}}')
    changed: dict[str, Any] = json.loads(text)
    (gateways,) = (one for one in changed["static_resources"]["clusters"] if one["name"] == "gateway")
    resolver = gateways["cluster_type"]["typed_config"]["typed_dns_resolver_config"]["typed_config"]
    resolver["resolvers"] = [{"socket_address": {"address": "127.0.0.1", "port_value": name_server_port}}]
    return changed
