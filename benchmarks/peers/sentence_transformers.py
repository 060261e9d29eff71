"""sentence-transformers (https://sbert.net): `CrossEncoder.predict` in a loop of its own process, without a server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from rich.console import Console

from benchmarks.harness.bare_onnx import LoopRun
from benchmarks.peers.environment import environment
from common.errors import NotReady

REQUIREMENTS: Final = ("sentence-transformers==6.2.0", "torch==2.13.0")
_LOOP: Final = Path(__file__).with_name("sentence_transformers_loop.py")
_STOP_TIMEOUT_S: Final = 30.0


class PredictLoop:
    """A process that predicts on request."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def run(self, seconds: float) -> LoopRun:
        """Predict for about ``seconds``; raises NotReady if the process has ended."""
        commands, answers = _streams(self._process)
        commands.write(f"{seconds}\n")
        commands.flush()
        answer = answers.readline().split()
        if not answer:
            raise NotReady(f"sentence-transformers ended; see {self._log}")
        return LoopRun(int(answer[0]), float(answer[1]), float(answer[2]))


@contextmanager
def predict_loop(
    model: Path, calls: Sequence[tuple[str, Sequence[str]]], folder: Path, console: Console
) -> Iterator[PredictLoop]:
    """Run the loop with the model of a folder and calls of query and texts while the body runs."""
    binaries = environment("sentence-transformers", REQUIREMENTS, console)
    texts, log = folder / "sentence-transformers.json", folder / "sentence-transformers.log"
    texts.write_text(json.dumps([[query, list(items)] for query, items in calls]))
    # Isolated: the script's folder has a module of the library's name.
    command = [str(part) for part in (binaries / "python", "-I", _LOOP, model, texts)]
    with log.open("w") as errors:
        process = subprocess.Popen(  # noqa: S603 - installed above
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            yield PredictLoop(process, log)
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT_S)


def _streams(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise NotReady("the process was started without pipes")
    return process.stdin, process.stdout
