"""Progress of long work: a bar on a terminal, a line for each step in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressStep:
    """The progress of one step."""

    def __init__(self, bar: Progress | None, title: str, total: float | None) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=total) if bar else None

    def advance(self, amount: float = 1) -> None:
        """Add an amount to what is done."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, amount)

    def at(self, done: float, total: float | None = None) -> None:
        """Set how much is done, and optionally the total."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)


class ProgressReport:
    """Prints the progress of long work, and records how long each step took.

    Args:
        console: The console to print to; a bar is shown only on a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    def warn(self, message: str) -> None:
        """Print something that whoever started the work should know."""
        self.console.print(f"[yellow]warning:[/] {escape(message)}", highlight=False)

    @contextmanager
    def step(self, title: str, total: float | None = None) -> Iterator[ProgressStep]:
        """Show a step while the body runs, then print how long it took."""
        started = time.monotonic()
        if self.console.is_terminal:
            with _bar(self.console) as bar:
                yield ProgressStep(bar, title, total)
        else:
            self.console.print(f"{title} …")
            yield ProgressStep(None, title, total)
        took = self.seconds[title] = time.monotonic() - started
        self.console.print(f"[green]✓[/] {title} [dim]{took:.1f} s[/]")


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
