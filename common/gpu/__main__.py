"""The program `python -m common.gpu`: what is known of the GPU; exit code 1 if CUDA's provider lacks a library."""

from __future__ import annotations

import sys

from common.gpu import device, libraries


def main() -> int:
    """Print one line; returns the exit code."""
    missing = libraries.missing("cuda")
    known = [f"{name} {value}" for name, value in device.report().known().items()]
    text = libraries.explain(missing) if missing else ", ".join(known) or "nothing is known of a GPU"
    sys.stdout.write(f"{text}\n")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
