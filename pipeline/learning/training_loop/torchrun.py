"""Runs a training in several processes on this machine, through torchrun."""

from __future__ import annotations

import json
import os
import subprocess  # only our own modules are run  # nosec B404
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.learning.training_loop.trainer import OnStep

_LOG: Final = "training.log"
_LAST_LINES: Final = 40


def run_in_processes(folder: Path, processes: int, on_step: OnStep, *, python: str = sys.executable) -> None:
    """Run the training in ``folder`` in several processes.

    They end soon after this process does, even after a kill, since writing the next step to its pipe fails.

    Args:
        folder: The job's; see `job`.
        processes: Number of processes.
        on_step: Called with steps done, total steps, and the recent loss.
        python: The interpreter.

    Raises:
        RuntimeError: One of them failed; the message has the end of the log.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [python, *torchrun, "-m", "pipeline.learning.training_loop", str(folder)]
    # By default Gloo listens on the address of the host name.
    environment = {"GLOO_SOCKET_IFNAME": "lo", **os.environ}
    log = folder / _LOG
    with (
        log.open("w") as errors,
        subprocess.Popen(  # noqa: S603 - our own interpreter and module  # nosec B603
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        ) as started,
    ):
        for line in started.stdout or ():
            if line.startswith("["):
                on_step(*json.loads(line))
    if started.returncode:
        tail = "\n".join(log.read_text().splitlines()[-_LAST_LINES:])
        raise RuntimeError(f"training in {processes} processes failed; the end of {log}:\n{tail}")
