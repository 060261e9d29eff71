"""Virtual environments of peers in `.cache/benchmarks/peers`, installed once from PyPI."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from common.errors import NotReady

_FOLDER: Final = Path(".cache/benchmarks/peers")


def environment(name: str, requirements: Sequence[str], console: Console) -> Path:
    """Return the `bin` folder of a peer's environment; it is installed (minutes) unless it exists.

    Raises:
        NotReady: pip could not install it.
    """
    folder = _FOLDER / name
    done = folder / "requirements.txt"
    content = "\n".join(requirements) + "\n"
    if not done.exists() or done.read_text() != content:
        console.print(f"Installing {', '.join(requirements)} …")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603 - our own interpreter
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *requirements]
        installed = subprocess.run(pip, capture_output=True, text=True, check=False)  # noqa: S603 - pinned names
        if installed.returncode:
            raise NotReady(f"{name} cannot be installed: {installed.stderr.strip()[-500:]}")
        done.write_text(content)
    return (folder / "bin").absolute()
