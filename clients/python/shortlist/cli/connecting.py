"""The options of every command that asks a gateway, and the client that they make."""

from __future__ import annotations

import argparse
import os
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path

from shortlist.client import Client, Tls


def version() -> str:
    """Return the version of the package; ``unknown`` where it is not installed."""
    try:
        return package_version("shortlist")
    except PackageNotFoundError:
        return "unknown"


def options() -> argparse.ArgumentParser:
    """Return the options of a connection, as a parent of a command's parser."""
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("connection")
    group.add_argument(
        "--target",
        default=os.environ.get("SHORTLIST_TARGET", "localhost:50051"),
        help="the gateway, host:port (default %(default)s; SHORTLIST_TARGET)",
    )
    group.add_argument("--timeout-s", type=float, default=5.0, help="time of a call in seconds (default %(default)s)")
    group.add_argument(
        "--token-file",
        type=Path,
        default=os.environ.get("SHORTLIST_TOKEN_FILE"),
        help="file with the caller's token (SHORTLIST_TOKEN_FILE)",
    )
    group.add_argument("--ca-file", type=Path, help="authorities of the server's certificate; turns TLS on")
    group.add_argument("--certificate-file", type=Path, help="the client's certificate, for mutual TLS")
    group.add_argument("--key-file", type=Path, help="its key")
    group.add_argument("--tls", action="store_true", help="TLS with the system's authorities")
    return parent


def connect(arguments: argparse.Namespace) -> Client:
    """Return a client by the options; raises ValueError or OSError if they cannot be used."""
    uses_tls = arguments.tls or arguments.ca_file or arguments.certificate_file
    tls = Tls(arguments.ca_file, arguments.certificate_file, arguments.key_file) if uses_tls else None
    token = Path(arguments.token_file).read_text().strip() if arguments.token_file else None
    return Client(arguments.target, timeout_s=arguments.timeout_s, tls=tls, token=token)
