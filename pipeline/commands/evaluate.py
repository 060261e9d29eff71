"""The command that measures a release."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from common.server.access.channel_security import ChannelSecurity
from pipeline.commands.build import REFUSED
from pipeline.commands.console import CONSOLE
from pipeline.progress import ProgressReport


def evaluate(
    release: Annotated[str, typer.Option(help="Release or store; a path or URL.")],
    adapter: Annotated[
        str, typer.Option("--source", help="Data adapter of the raw data; by default the one that fits the files.")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="Raw data, or a dataset that `prepare` wrote.")] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="How questions are made: temporal, leave-last-out, judged (judged queries), discovery (temporal, but "
            "what else, not what again), or typed (searches as people type them, for complete-journey)."
        ),
    ] = "temporal",
    examples: Annotated[
        Path | None, typer.Option(help="Table of questions (user_id, history, target) that replaces the protocol.")
    ] = None,
    users: Annotated[int | None, typer.Option(help="Maximum number of users, or of judged queries.", min=1)] = None,
    folds: Annotated[
        int, typer.Option(help="Folds to cross-validate source weights and trees in; 0 for none.", min=0)
    ] = 0,
    baselines: Annotated[bool, typer.Option(help="Compare with single methods too.")] = False,
    long_tail_shares: Annotated[
        bool,
        typer.Option(
            "--long-tail-shares", help="Measure each minimum long-tail share with real answers, not only by estimate."
        ),
    ] = False,
    gateway: Annotated[
        str, typer.Option(help="HOST:PORT of a running gateway to ask; by default the engines run in this process.")
    ] = "",
    gateway_ca: Annotated[
        Path | None, typer.Option(help="Authorities of the gateway's certificate, in PEM; turns on TLS.")
    ] = None,
    gateway_certificate: Annotated[
        Path | None, typer.Option(help="Certificate to show the gateway, in PEM (mutual TLS).")
    ] = None,
    gateway_key: Annotated[Path | None, typer.Option(help="Private key of that certificate, in PEM.")] = None,
    gateway_token_file: Annotated[Path | None, typer.Option(help="File with a token for the gateway.")] = None,
    against: Annotated[
        str, typer.Option(help="Release or store to compare with, such as the current one; a path or URL.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Exit with 0 even if the gate refuses the release.")] = False,
    limit: Annotated[int, typer.Option(help="Items of each answer.", min=1, max=500)] = 100,
    threshold: Annotated[
        float, typer.Option(help="Probability above which an item counts as relevant.", min=0, max=1)
    ] = 0.5,
    out: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    json: Annotated[
        Path | None, typer.Option(help="JSON file for the results; the store's evaluations/ always gets a copy.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of samples, folds, intervals and tests.")] = 7,
) -> None:
    """Measure a release through the engines that serve it, or through a running gateway.

    With --gateway or --against, the comparison that ends a build follows: exit code 3 if it refuses the release.
    """
    # torch takes seconds to import, and --help should not
    from pipeline.evaluation.command import EvaluationData, dataset_of, run_evaluation, show  # noqa: PLC0415
    from pipeline.evaluation.evaluation import EvaluationSettings  # noqa: PLC0415
    from pipeline.evaluation.gate import run_gate  # noqa: PLC0415
    from pipeline.gate.result import print_gate  # noqa: PLC0415

    report = ProgressReport(CONSOLE)
    questions = EvaluationData(adapter, data, protocol, examples, users)
    if examples is None:
        questions = dataclasses.replace(questions, dataset=dataset_of(questions, report))
    settings = EvaluationSettings(
        limit=limit,
        threshold=threshold,
        folds=folds,
        gateway=gateway,
        gateway_security=ChannelSecurity.of(
            authorities=gateway_ca, certificate=gateway_certificate, key=gateway_key, token_file=gateway_token_file
        ),
        baselines=baselines,
        long_tail_shares=long_tail_shares,
        seed=seed,
    )
    show(run_evaluation(release, questions, settings, out, json, report), CONSOLE)
    if gateway or against:
        result = run_gate(release, questions, settings, against, report)
        print_gate(result, CONSOLE)
        if result.faults and not force:
            raise typer.Exit(REFUSED)
