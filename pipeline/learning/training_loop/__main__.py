"""A process of a training: `torchrun --nproc-per-node 2 -m pipeline.learning.training_loop FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import record

from pipeline.learning.training_loop.run import run_training


def _print_step(step: int, steps: int, loss: float) -> None:
    print(json.dumps([step, steps, loss]), flush=True)


@record  # torchrun's summary then has the stack of the process that failed first
def main() -> None:
    """Train, then leave the process group."""
    run_training(Path(sys.argv[1]), _print_step)
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
