"""``python -m services.playground``: runs the playground."""

from __future__ import annotations

import sys

from common.process.startup import run_program

if __name__ == "__main__":
    sys.exit(run_program("services.playground.program"))
