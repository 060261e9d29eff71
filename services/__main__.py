"""``python -m services``: retrieval, ranking and gateway together on one machine."""

from __future__ import annotations

import sys

from common.process.startup import run_program

if __name__ == "__main__":
    sys.exit(run_program("services.program"))
