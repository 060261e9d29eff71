"""The commands that learn from the log of impressions: estimate, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.errors import InvalidRequest
from common.release.store import open_release
from pipeline.commands.build import REFUSED
from pipeline.commands.console import CONSOLE
from pipeline.data.impressions.log_reader import read_log
from pipeline.progress import ProgressReport
from services.gateway.experiments.experiment import read_experiments

Logs = Annotated[list[Path], typer.Option("--log", help="Folder of a gateway's --impressions-log; repeat for several.")]
JsonFile = Annotated[Path | None, typer.Option(help="JSON file for the result.")]


def estimate(
    log: Logs,
    release: Annotated[str, typer.Option(help="Release or store to judge; a path or URL.")],
    reward: Annotated[str, typer.Option(help="Kind of event that counts: view, cart, purchase, …")] = "view",
    within_pool: Annotated[
        bool, typer.Option("--within-pool", help="Judge the release's order of the items that the log could show.")
    ] = False,
    max_answers: Annotated[int, typer.Option(help="Use the latest of the logged answers.", min=1)] = 20_000,
    json: JsonFile = None,
) -> None:
    """Estimate from a log what a release would be worth, before it is served; exit code 3 if the log cannot tell."""
    # scipy and sklearn take a second to import, and --help should not
    from pipeline.off_policy.estimation import estimate_value, print_result, usable_answers  # noqa: PLC0415
    from pipeline.off_policy.target import target_answers  # noqa: PLC0415

    report = ProgressReport(CONSOLE)
    opened = open_release(release)
    with report.step("Reading the log"):
        tables = read_log(log)
    usable = usable_answers(tables, max_answers)
    targets = target_answers(opened, usable.answers, report, within_pool=within_pool)
    result = estimate_value(tables, usable, targets, reward)
    print_result(result, CONSOLE)
    for note in tables.left_out():
        CONSOLE.print(note, highlight=False)
    if json is not None:
        json.write_text(result.model_dump_json(indent=1) + "\n")
    if result.faults:
        raise typer.Exit(REFUSED)


def compare(
    log: Logs,
    experiments: Annotated[Path, typer.Option(help="The gateway's file of experiments.")],
    experiment: Annotated[str, typer.Option(help="Name of the experiment.", show_default="the first")] = "",
    reward: Annotated[str, typer.Option(help="Kind of event that counts: view, cart, purchase, …")] = "view",
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Compare within each occasion, placement or release too; may be repeated."),
    ] = None,
    effect: Annotated[float, typer.Option(help="Relative effect that one expects.", min=1e-6, max=10)] = 0.05,
    json: JsonFile = None,
) -> None:
    """Compare the variants of an experiment by the log: sequential test, intervals, slices, CUPED."""
    # scipy takes a second to import, and --help should not
    from pipeline.comparison.comparison import SLICES, compare_variants, print_comparison  # noqa: PLC0415

    if unknown := set(slices or ()) - set(SLICES):
        raise InvalidRequest(f"--slice {unknown.pop()}: the slices are {', '.join(SLICES)}")
    known = {each.name: each for each in read_experiments(experiments)}
    name = experiment or next(iter(known), "")
    if name not in known:
        raise InvalidRequest(
            f"--experiment {name!r}: the experiments of {experiments} are {', '.join(known) or 'none'}"
        )
    weights = {variant.name: variant.weight for variant in known[name].variants}
    tables = read_log(log)
    result = compare_variants(
        tables, name, next(iter(weights)), reward, by=slices or (), effect=effect, weights=weights
    )
    print_comparison(result, CONSOLE)
    if json is not None:
        json.write_text(result.model_dump_json(indent=1) + "\n")
