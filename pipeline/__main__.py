"""The pipeline's command line: raw shop data to releases, and measuring them."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from common.errors import ShortlistError
from pipeline.commands.build import build_release, demo, playground, prepare_dataset, sources
from pipeline.commands.bulk import embed, score
from pipeline.commands.console import CONSOLE
from pipeline.commands.evaluate import evaluate
from pipeline.commands.inspect import inspect_files
from pipeline.commands.load import write_requests
from pipeline.commands.online import compare, estimate
from pipeline.commands.releases import releases
from pipeline.commands.replay import replay_release, update_release
from pipeline.commands.signing import make_signing_key, sign_releases

app = typer.Typer(
    help="Turns raw shop data into releases, and measures them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command()(sources)


app.command("inspect")(inspect_files)


app.command("prepare")(prepare_dataset)


app.command("build")(build_release)


app.command("update")(update_release)


app.command("replay")(replay_release)


app.command()(evaluate)


app.command()(estimate)


app.command()(compare)


app.command("requests")(write_requests)


app.command()(embed)


app.command()(score)


app.command()(releases)


app.command("signing-key")(make_signing_key)


app.command("sign")(sign_releases)


app.command()(demo)


app.command()(playground)


def main() -> int:
    """Run a command; returns the exit code: 1 with one line for an error that the user can correct."""
    try:
        app(standalone_mode=True)
    except ShortlistError as error:
        CONSOLE.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
