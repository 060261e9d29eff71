"""The console that every command prints to."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

_LOG_COLUMNS: Final = 132  # a log has no width of its own, and tables need one
CONSOLE: Final = Console(width=None if sys.stdout.isatty() else _LOG_COLUMNS)
