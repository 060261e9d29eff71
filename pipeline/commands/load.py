"""The command that writes the requests of a load test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from common.errors import InvalidRequest
from common.release.store import open_release
from pipeline.commands.console import CONSOLE

_MIX: Final = "history=0.6,query=0.2,both=0.1,new_user=0.1"


def write_requests(
    release: Annotated[str, typer.Option(help="Release or store; a path or URL.")],
    out: Annotated[Path, typer.Option(help="The file, one request in JSON a line; an existing one is replaced.")],
    count: Annotated[int, typer.Option(help="Number of requests.", min=1)] = 10_000,
    mix: Annotated[str, typer.Option(help="Share of each occasion: history, query, both, new_user.")] = _MIX,
    history_items: Annotated[float, typer.Option(help="Mean number of items of a history.", min=1)] = 20.0,
    limit: Annotated[int, typer.Option(help="Items to return.", min=1, max=500)] = 10,
    seed: Annotated[int, typer.Option(help="The same seed writes the same requests.")] = 0,
) -> None:
    """Write requests for a load test, drawn from a release: items by popularity, histories along its item graphs."""
    # polars takes a moment to import, and --help should not
    from pipeline.measurement.questions.load_requests import LoadMix, load_requests  # noqa: PLC0415

    chosen = LoadMix(_shares(mix), history_items, limit=limit)
    requests = load_requests(open_release(release), chosen, count, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w") as file:
        file.writelines(json.dumps(request, ensure_ascii=False) + "\n" for request in requests)
    CONSOLE.print(f"{count:,} requests in {out}")


def _shares(text: str) -> dict[str, float]:
    shares = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise InvalidRequest(f"mix: {part!r} is not occasion=share, such as history=0.6") from None
    return shares
