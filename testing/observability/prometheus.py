"""A Prometheus server of this machine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from common.errors import NotReady

PROGRAM: Final = "prometheus"
_TIMEOUT_S: Final = 30.0


def is_installed() -> bool:
    """Return whether `prometheus` is installed."""
    return shutil.which(PROGRAM) is not None


@dataclass(frozen=True)
class Prometheus:
    """A running server.

    Attributes:
        port: Its port.
    """

    port: int

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an expression now; raises HTTPError if it is no PromQL."""
        address = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:
            series: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return series


@contextmanager
def running_prometheus(folder: Path, targets: Sequence[str], rules: Sequence[Path]) -> Iterator[Prometheus]:
    """Run a server that scrapes targets and evaluates rules each second, while the body runs.

    Raises:
        NotReady: It did not start.
    """
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(file) for file in rules],
        "scrape_configs": [{"job_name": "shortlist", "static_configs": [{"targets": list(targets)}]}],
    }
    file = folder / "prometheus.json"  # which is YAML too
    file.write_text(json.dumps(config))
    places = (f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}", "--web.listen-address=127.0.0.1:0")
    with subprocess.Popen([PROGRAM, *places], stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - of the distribution
        try:
            yield Prometheus(_port(process))
        finally:
            process.terminate()


def _port(process: subprocess.Popen[str]) -> int:
    """Return the port that the server chose, once its log tells it."""
    lines = []
    for line in process.stderr or ():
        lines.append(line)
        if found := re.search(r'msg="Listening on" address=\S+:(\d+)', line):
            return int(found[1])
    raise NotReady(f"Prometheus did not start: {''.join(lines[-3:])}")
