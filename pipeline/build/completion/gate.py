"""The gate of a build: measured before the tables are counted up to the last event, decides what becomes current."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, get_args

from common.errors import BadRelease, InvalidRequest
from common.release import layout
from common.release.pointer import CURRENT, set_current
from common.release.store import Release, open_release
from pipeline.build.completion.learned import Learned, write_tables_before
from pipeline.build.completion.left_out import left_out_table
from pipeline.build.context import BuildContext
from pipeline.gate.measurement import answer_with, collapsed, measure
from pipeline.gate.questions import (
    BOTH,
    HISTORY,
    JUDGED,
    NEW_ITEMS,
    NEW_USER,
    QUERY,
    GateQuestions,
    questions_of_windows,
    with_judged_queries,
)
from pipeline.gate.result import GateResult, print_gate
from pipeline.measurement.questions.answers import CROSS_ENCODER, LATE_INTERACTION, Answer
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.staging import Staging
from pipeline.tables.replay import TABLES, reaches_past, replay
from services.ranking.release_settings import Occasion

GATE: Final = "gate"  # of the manifest's metrics
_DEPTHS: Final = {CROSS_ENCODER: "cross_encoder", LATE_INTERACTION: "late_interaction"}
_ALL_CANDIDATES: Final = 2_000
# The occasions of `ranker.json` for those of the gate; its new items are asked for by history and query.
_PLANNED: Final[Mapping[str, Occasion]] = {
    HISTORY: "history",
    QUERY: "query",
    BOTH: "both",
    NEW_USER: "new_user",
    NEW_ITEMS: "both",
    JUDGED: "query",
}


def measure_gate(context: BuildContext, learned: Learned, store: Path) -> None:
    """Compare the staged release with simpler answers and with the store's current release, into the metrics.

    A tier whose scores hardly vary in an occasion is left out there: it scores no candidate of a request that sets no
    depth of its own.

    Args:
        context: The build.
        learned: What was learned. If it has windows, the tables are counted up to the test's beginning.
        store: The store.
    """
    questions = _questions(context, learned)
    if questions is None or not questions.all:
        return
    current, note = _current_answers(context, questions, store)
    seed, current_id = context.settings.seed, current[0] if current else ""
    answers = current[1] if current else None

    def measured() -> GateResult:
        with local_runner(context.staging.release()) as runner:
            return measure(runner, questions, context.report, seed, answers, current_id)

    result, notes = measured(), [note] if note else []
    found = [one for one in collapsed(result.spreads) if one[1] in _DEPTHS]
    for occasion, model, spread in found:
        _leave_out(context, _PLANNED[occasion], _DEPTHS[model])
        notes.append(f"{occasion}: the scores of the {model} differ by {spread:.3f} (median), so it is left out")
    if found:
        result = measured()
    context.staging.metrics[GATE] = result.model_copy(update={"notes": notes}).model_dump()


def is_refused(release: Release, *, force: bool = False) -> bool:
    """Return whether the gate refused a release when it was built, and nobody forces it."""
    return _is_refused(_result(release.manifest.metrics), force=force)


def publish_gated(staging: Staging, store: Path, report: ProgressReport, *, force: bool) -> Release:
    """Print what was left out and what the gate found, and publish: as the current release unless it is refused."""
    report.console.print(left_out_table(staging.metrics))
    result = _result(staging.metrics)
    return _decided(staging.publish(store, current=not _is_refused(result, force=force)), result, report, force=force)


def reuse_gated(release: Release, store: Path, report: ProgressReport, *, force: bool) -> Release:
    """Print what the gate found of a stored release; make it the current one if it was refused and is forced."""
    result = _result(release.manifest.metrics)
    if result is not None and result.faults and force:
        set_current(store, release.id)
    return _decided(release, result, report, force=force)


def _decided(release: Release, result: GateResult | None, report: ProgressReport, *, force: bool) -> Release:
    if result is None:
        report.console.print("The gate has no requests to compare on: nothing was held out")
        return release
    print_gate(result, report.console)
    if _is_refused(result, force=force):
        report.warn(f"release {release.id} is stored and not current: the gate refused it; --force makes it current")
    return release


def _is_refused(result: GateResult | None, *, force: bool) -> bool:
    return result is not None and bool(result.faults) and not force


def _result(metrics: Mapping[str, Any]) -> GateResult | None:
    return GateResult.model_validate(metrics[GATE]) if GATE in metrics else None


def _questions(context: BuildContext, learned: Learned) -> GateQuestions | None:
    """Return the gate's requests, with the staged tables as they were before these."""
    if learned.windows is None:
        return learned.questions
    settings, windows = context.settings, learned.windows
    write_tables_before(context, learned.catalogue, windows.test)
    questions = questions_of_windows(context.dataset, windows, users=settings.test_users, seed=settings.seed)
    return with_judged_queries(questions, context.dataset.judgements, learned.catalogue, settings.test_users)


def _current_answers(
    context: BuildContext, questions: GateQuestions, store: Path
) -> tuple[tuple[str, Mapping[str, Answer]] | None, str]:
    """Return the current release's id and answers, and a note if it cannot be compared; neither if there is none."""
    if not (store / CURRENT).exists():
        return None, ""
    try:
        release = open_release(str(store))
        if release.manifest.data.source != context.staging.data.source:
            return None, f"The current release {release.id} is of other data ({release.manifest.data.source})."
        with _before(context, release, questions) as comparable:
            return (release.id, answer_with(comparable, questions, context.report)), ""
    except (BadRelease, InvalidRequest) as error:
        return None, f"The current release cannot be compared: {error}"


@contextmanager
def _before(context: BuildContext, release: Release, questions: GateQuestions) -> Iterator[Release]:
    """Yield a release that knows nothing from the questions' time on: itself, or a replay."""
    time = questions.time
    if time is None:
        yield release
        return
    models = sorted(release.manifest.learned_until.keys() - {TABLES})
    late = [model for model in models if reaches_past(release.manifest, model, time)]
    if late:
        raise InvalidRequest(f"its {', '.join(late)} learned from events that the gate asks for")
    with tempfile.TemporaryDirectory(dir=context.staging.path.parent) as folder:
        yield replay(release, context.dataset, time, Path(folder) / "current", context.report)


def _leave_out(context: BuildContext, occasion: Occasion, tier: str) -> None:
    """Set a tier's depth to 0 for an occasion."""
    file = context.staging.file(layout.RANKER_SETTINGS)
    settings = json.loads(file.read_text())
    depths = {"late_interaction": _ALL_CANDIDATES, "cross_encoder": settings["depth"]}
    settings["plan"] = settings["plan"] or dict.fromkeys(get_args(Occasion), depths)
    settings["plan"][occasion] = {**settings["plan"].get(occasion, depths), tier: 0}
    context.staging.write_json(layout.RANKER_SETTINGS, settings)
