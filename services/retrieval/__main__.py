"""``python -m services.retrieval``: runs the retrieval server."""

from __future__ import annotations

import sys

from common.process.startup import run_program

if __name__ == "__main__":
    sys.exit(run_program("services.retrieval.program"))
