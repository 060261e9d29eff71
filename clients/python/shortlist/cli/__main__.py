"""``shortlist``, also as ``python -m shortlist.cli``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from shortlist.cli import ask, batch, browse, checkout, completion, connecting, doctor, releases, top
from shortlist.cli.shop import rules
from shortlist.client.errors import ShortlistClientError

_EPILOG = """examples:
  shortlist recommend --query "oat milk" --explain
  shortlist similar 817
  shortlist recommend --user u1 --history 817,1031 --json
  shortlist record --user u1 --kind purchase --item 817
  shortlist build --data my-shop/ --out releases/my-shop
  shortlist serve --release releases/my-shop
  shortlist doctor --release releases/my-shop
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; a parsed command has `run`, which takes the arguments."""
    program = argparse.ArgumentParser(
        prog="shortlist",
        description="Recommends products in two stages: builds releases, serves them, asks them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    program.add_argument("--version", action="version", version=f"shortlist {connecting.version()}")
    commands = program.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (ask, batch, browse, releases, rules, doctor, top, completion):
        module.add_commands(commands)
    checkout.add_commands(commands)
    return program


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 1 with one line on stderr for an error that the user can correct."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in checkout.COMMANDS:  # their options are theirs, --help included
        return checkout.run(words[0], words[1:])
    arguments = parser().parse_args(words)
    try:
        code: int = arguments.run(arguments)
    except (ShortlistClientError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
