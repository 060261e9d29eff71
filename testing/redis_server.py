"""A Redis server on this machine that loses no acknowledged write."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from redis import Redis, RedisError

from common.errors import NotReady
from testing.server_process import free_port

PROGRAM: Final = "redis-server"
_START_TIMEOUT_S: Final = 20.0


def is_installed() -> bool:
    """Return whether `redis-server` is installed."""
    return shutil.which(PROGRAM) is not None


class RedisServer:
    """A Redis server that synchronises its append-only file before every answer.

    Args:
        folder: The folder of that file.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.client: Redis = Redis(port=self.port)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, stream: str, options: str = "") -> str:
        """Return the address of a stream."""
        return f"redis://127.0.0.1:{self.port}/0?stream={stream}{options}"

    def start(self) -> None:
        """Start it with its append-only file, unless it runs, and wait until it answers; raises NotReady."""
        if self._process is not None and self._process.poll() is None:
            return
        if not is_installed():
            raise NotReady(f"{PROGRAM} is not installed; apt-get install redis-server")
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always", "logfile": self._folder / "redis.log"}
        flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen([PROGRAM, *flags])  # noqa: S603 - our own flags
        last = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > last:
                raise NotReady(f"{PROGRAM} does not answer; see {self._folder / 'redis.log'}")
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGKILL for a power cut, SIGSTOP to hang, SIGCONT to go on."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            if number is signal.SIGKILL:
                self._process.wait()

    def lose_everything(self) -> None:
        """Kill it and start it again without its data."""
        self.signal(signal.SIGKILL)
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        self.start()

    def close(self) -> None:
        """Stop it."""
        self.client.close()
        self.signal(signal.SIGKILL)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False
