"""A supervisor of fake servers, given as ``NAME=HOST:PORT[=FLAGS]``, like ``python -m services``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from common.process.startup import open_standard_streams
from services.supervisor import ChildProcess, supervise

SERVER = str(Path(__file__).with_name("fake_server.py"))


def child(text: str) -> ChildProcess:
    """Return the fake server of an argument."""
    name, address, *flags = text.split("=")
    command = (sys.executable, SERVER, "--port", address.rpartition(":")[2], *" ".join(flags).split())
    return ChildProcess(name, command, address)


if __name__ == "__main__":
    open_standard_streams()
    sys.exit(asyncio.run(supervise([child(text) for text in sys.argv[1:]])))
