"""Background loops and what may block go through the one mechanism that is made for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parents[3]
# Where a thread, an endless loop, a line or a channel is made that nothing else may make, or that ends by itself.
THREADS: Final = {"common/process/endless_loop.py", "common/process/line_writer.py"}
ENDLESS: Final = {
    "common/process/endless_loop.py": "the mechanism",
    "common/process/line_writer.py": "the log's own thread, which cannot log; every error of a write is counted",
    "common/changes/redis_stream.py": "ends at the end of the stream",
    "common/server/health.py": "one caller's watch, which ends with its call",
    "services/ranking/batching/cost_model.py": "ends at the last token count",
    "services/supervisor.py": "ends with its child; the supervisor notices",
}
WRITERS: Final = {
    "common/gpu/__main__.py",
    "common/process/line_writer.py",
    "common/server/settings.py",
    "services/program.py",
    "services/token.py",
}
CHANNELS: Final = {"common/server/channel.py", "common/server/access/secured_channel.py"}


def _nodes(*folders: str) -> Iterator[tuple[str, ast.AST]]:
    for folder in folders:
        yield from _nodes_of(folder)


@cache
def _nodes_of(folder: str) -> list[tuple[str, ast.AST]]:
    return [
        (str(file.relative_to(TOP)), node)
        for file in (TOP / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
    ]


def _calls(name: str, *folders: str) -> set[str]:
    """Return the files that call a function of this dotted name."""
    return {
        file
        for file, node in _nodes(*folders)
        if isinstance(node, ast.Call) and f".{_dotted(node.func)}".endswith(f".{name}")
    }


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_only_the_endless_loop_makes_threads():
    """A thread made elsewhere could end by an exception that nobody named."""
    assert _calls("threading.Thread", "common", "services") == THREADS


def test_no_other_loop_is_endless():
    """`while True` is written in one place, or ends by itself for the reason given here."""
    found = {
        file
        for file, node in _nodes("common", "services")
        if isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value
    }
    assert found == set(ENDLESS)


def test_only_the_line_writer_writes_to_standard_streams():
    """A write elsewhere could wait for a reader on the event loop; before the servers start, settings are refused."""
    names = ("sys.stdout.write", "sys.stderr.write", "print", "os.write")
    assert {file for name in names for file in _calls(name, "common", "services")} == WRITERS


def test_only_one_module_makes_channels():
    """A channel made elsewhere would follow a proxy of the environment, and lack keepalive and limits."""
    names = ("insecure_channel", "secure_channel")
    assert {file for name in names for file in _calls(name, "common", "services", "pipeline")} == CHANNELS
