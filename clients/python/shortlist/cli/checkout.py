"""The commands that run the checkout's own programs: the pipeline and the servers."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

_PIPELINE: Final = {
    "build": "build a release from a shop's data",
    "inspect": "show what is understood of a shop's files",
    "prepare": "turn a shop's files into a dataset",
    "update": "make the next release from the current one and new events",
    "evaluate": "measure a release",
    "replay": "measure what freshness brings",
    "sources": "list the kinds of data that can be read",
    "demo": "build, serve and measure a release from real purchases",
    "playground": "serve a release on this machine and open a page that shows it",
}
COMMANDS: Final = (*_PIPELINE, "serve")


def add_commands(commands: Any) -> None:
    """List the commands in --help; their own programs parse their options."""
    for name, text in _PIPELINE.items():
        commands.add_parser(name, help=text, add_help=False)
    commands.add_parser("serve", help="run the three servers on this machine", add_help=False)


def run(command: str, words: Sequence[str]) -> int:
    """Run a command's program in this process; returns its exit code."""
    module = "services" if command == "serve" else "pipeline"
    if find_spec(module) is None:
        print(
            f"error: `shortlist {command}` needs the checkout and its packages: in the checkout, "
            "pip install --constraint constraints.txt --editable '.[pipeline]'",
            file=sys.stderr,
        )
        return 1
    sys.argv = ["shortlist", *([] if command == "serve" else [command]), *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
