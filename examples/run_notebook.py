"""Run the notebook on a release of the tiny shop and its three servers: python -m examples.run_notebook JUPYTER OUT."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.local_services import local_services
from testing.tiny_shop import build_tiny_release

_TOP = Path(__file__).parents[1]


def main(jupyter: Path, out: Path) -> None:
    """Execute `quality.ipynb` with the program `jupyter-execute`, and write it with its outputs to ``out``."""
    notebook = Path(__file__).parent / "quality.ipynb"
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        store = build_tiny_release(Path(folder))
        with local_services(store, Path(folder) / "live") as services:
            environment = {**os.environ, "RELEASE": str(store), "GATEWAY": services.targets["gateway"]}
            environment["PYTHONPATH"] = os.pathsep.join((str(_TOP / "clients" / "python"), str(_TOP / "protos")))
            command = [str(jupyter.absolute()), str(notebook), f"--output={out.absolute()}"]
            subprocess.run(command, check=True, env=environment)  # noqa: S603 - the program that make installed
    sys.stdout.write(f"{out}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
