"""A training in several processes of this machine, through torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.learning.training_loop.trainer import OnStep

_LOG: Final = "training.log"


_LAST_LINES: Final = 40


def run_in_processes(folder: Path, processes: int, on_step: OnStep, *, python: str = sys.executable) -> None:
    """Run the training in ``folder`` in so many processes.

    They end soon after this process does, even by a kill: the next step cannot be told to anybody.

    Args:
        folder: The job's; see `job`.
        processes: How many.
        on_step: Told steps done, steps in all, and the recent loss.
        python: The interpreter to run it with.

    Raises:
        RuntimeError: One of them failed; the message has the end of the log.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [python, *torchrun, "-m", "pipeline.learning.training_loop", str(folder)]
    # Gloo would else listen where the host's name leads to.
    environment = {"GLOO_SOCKET_IFNAME": "lo", **os.environ}
    log = folder / _LOG
    with (
        log.open("w") as errors,
        subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        ) as started,
    ):
        for line in started.stdout or ():
            if line.startswith("["):
                on_step(*json.loads(line))
    if started.returncode:
        tail = "\n".join(log.read_text().splitlines()[-_LAST_LINES:])
        raise RuntimeError(f"training in {processes} processes failed; the end of {log}:\n{tail}")
