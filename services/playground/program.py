"""The program `python -m services.playground`: settings, the servers if it starts them, then the page."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from shortlist.client import Tls
from shortlist.client.connection import Token

from common.errors import ShortlistError
from common.process.line_writer import LineWriter
from common.server.access.channel_security import ChannelSecurity
from common.server.settings import load_settings
from services.playground.comparison.judgements import Judgements
from services.playground.comparison.users import read_users
from services.playground.gateways.gateways import Gateways
from services.playground.servers.local_servers import LocalServers
from services.playground.servers.state import Servers
from services.playground.settings import Settings, words
from services.playground.web.app import application
from services.playground.web.protection import AdminToken
from services.playground.web.site import Site
from services.program import LocalSettings, child_processes

_PROGRAM: Final = "python -m services.playground"
_DRAIN_S: Final = 5
_SERVICES: Final = ("retrieval", "ranking", "gateway")


def main() -> int:
    """Run the playground; returns the exit code."""
    settings = load_settings(Settings, _PROGRAM, sys.argv[1:])
    output = LineWriter(1)
    try:
        return asyncio.run(_serve(settings, output))
    except (ShortlistError, OSError) as error:
        errors = LineWriter(2)
        errors.write(f"{_PROGRAM}: {error}\n")
        errors.flush()
        return 1
    finally:
        output.flush()


async def _serve(settings: Settings, output: LineWriter) -> int:
    """Serve the page until SIGTERM or SIGINT."""
    with _listening(settings) as listening:
        stopped = _signalled()
        async with _site(settings, output, stopped) as (site, fragment):
            if site is None:
                return 0
            app = application(site, words(settings.allowed_hosts))
            server = _Server(
                uvicorn.Config(
                    app,
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    server_header=False,
                    timeout_graceful_shutdown=_DRAIN_S,
                    ssl_certfile=settings.tls_certificate,
                    ssl_keyfile=settings.tls_key,
                )
            )
            stopped.add_done_callback(lambda _: server.end())
            output.write(f"The playground is at {_url(settings, listening)}{fragment}\n")
            await server.serve(sockets=[listening])
    return 0


class _Server(uvicorn.Server):
    """Leaves signals alone: uvicorn would raise them again after its end, and the servers could not drain."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield

    def end(self) -> None:
        """Answer what is open, then end."""
        self.should_exit = True


def _signalled() -> asyncio.Future[None]:
    """Return what is done at the first SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = loop.create_future()

    def stop() -> None:
        if not stopped.done():
            stopped.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopped


@asynccontextmanager
async def _site(
    settings: Settings, output: LineWriter, stopped: asyncio.Future[None]
) -> AsyncIterator[tuple[Site | None, str]]:
    """Yield the parts of the page and the end of its address; no parts if it was stopped before they were ready."""
    users = read_users(settings.users) if settings.users is not None else []
    judgements = None if settings.judgements is None else Judgements(settings.judgements)
    admin, fragment = _admin(settings)
    security = ChannelSecurity.of(
        authorities=settings.gateway_ca,
        certificate=settings.gateway_certificate,
        key=settings.gateway_key,
        server_name=settings.gateway_name,
        token_file=settings.gateway_token_file,
    )
    local, metrics = (None, settings.metrics_pages()) if not settings.release else _local_servers(settings)
    gateways = Gateways(
        settings.gateway_targets() if local is None else {"gateway": local.targets["gateway"]},
        settings.timeout_s,
        _tls(settings),
        _token(settings),
    )
    retrieval = {"retrieval": settings.retrieval_target} if settings.retrieval_target else {}
    servers = Servers({**gateways.targets, **retrieval} if local is None else local.targets, metrics, security)
    try:
        is_ready = local is None or await _started(local, output, stopped)
        site = Site(gateways, servers, admin, users, judgements, local)
        yield (site if is_ready else None), fragment
    finally:
        await gateways.close()
        await servers.close()
        if local is not None:
            await local.close()


async def _started(local: LocalServers, output: LineWriter, stopped: asyncio.Future[None]) -> bool:
    """Start the servers; returns whether they serve, or else the program was stopped."""
    output.write("Starting retrieval, ranking and gateway …\n")
    await local.start_all()
    serving = asyncio.ensure_future(local.await_serving())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        serving.cancel()
        return False
    await serving
    return True


def _local_servers(settings: Settings) -> tuple[LocalServers, dict[str, str]]:
    """Return the servers to start, and their pages of metrics."""
    ports = dict(zip(_SERVICES, _free_ports(len(_SERVICES)), strict=True))
    for name in _SERVICES:
        os.environ.setdefault(f"SHORTLIST_{name.upper()}_LOG_LEVEL", "error")
    folder = settings.data_dir
    children = child_processes(
        LocalSettings(
            release=settings.release,
            gateway_port=0,
            retrieval_port=0,
            ranking_port=0,
            gateway_metrics_port=ports["gateway"],
            retrieval_metrics_port=ports["retrieval"],
            ranking_metrics_port=ports["ranking"],
            profiles=None if folder is None else folder / "profiles.sqlite3",
            data_dir=None if folder is None else folder / "changes",
        )
    )
    return LocalServers(children), {name: f"127.0.0.1:{port}" for name, port in ports.items()}


def _free_ports(count: int) -> list[int]:
    """Return free ports of this machine; they are held together, so that none is returned twice."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for trial in sockets:
            trial.bind(("127.0.0.1", 0))
        return [int(trial.getsockname()[1]) for trial in sockets]


def _listening(settings: Settings) -> socket.socket:
    """Return the socket of the page; raises OSError that names the flags."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise OSError(
            f"{settings.host}:{settings.port} is taken or not an address of this machine; set another with --port or "
            "--host"
        ) from error


def _url(settings: Settings, listening: socket.socket) -> str:
    scheme = "http" if settings.tls_certificate is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{listening.getsockname()[1]}/"


def _admin(settings: Settings) -> tuple[AdminToken, str]:
    """Return who may change something, and how the page is told; browsers send no fragment to servers.

    Who reads our output started the servers, so a token is made and printed unless one is given.
    """
    if settings.release and settings.admin_token_file is None:
        token = secrets.token_urlsafe(24)
        return AdminToken(token), f"#admin={token}"
    return AdminToken.read(settings.admin_token_file), ""


def _tls(settings: Settings) -> Tls | None:
    if settings.gateway_ca is None:
        return None
    return Tls(settings.gateway_ca, settings.gateway_certificate, settings.gateway_key, settings.gateway_name)


def _token(settings: Settings) -> Token | None:
    """Return the token of calls, read again at each; a gateway refuses a call without one."""
    file = settings.gateway_token_file
    return None if file is None else lambda: file.read_text(encoding="utf-8").strip()
