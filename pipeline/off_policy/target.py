"""What a release would show in answer to logged requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from common.release.store import Release
from pipeline.measurement.questions.answers import BOTH
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressReport

# Enough to find the items of a logged pool in the release's own order.
_DEPTH: Final = 200


def target_answers(
    release: Release, answers: pl.DataFrame, report: ProgressReport, *, within_pool: bool
) -> list[list[str]]:
    """Return the items that a release would show for each logged answer, as many as were shown.

    Args:
        release: The release, whose engines run in this process.
        answers: `ImpressionTables.answers`.
        report: Shows progress.
        within_pool: Whether the release only orders the items that the log could show. Those that it does not find come
            last, in the log's order.
    """
    rows = answers.select(
        "request_id", "query", "history", "history_kinds", "history_ages_s", "items", "pool"
    ).to_dicts()
    questions = [_question(row) for row in rows]
    shown = max((len(row["items"]) for row in rows), default=0)
    limit = _DEPTH if within_pool else shown
    with local_runner(release) as runner, report.step("Asking the release", len(questions)) as step:
        found = runner.answer_questions(questions, BOTH, limit, step)
    return [_shown(row, found[row["request_id"]].item_ids, within_pool=within_pool) for row in rows]


def _question(row: dict[str, Any]) -> Question:
    ages = [math.nan if age_s is None else age_s for age_s in row["history_ages_s"]]
    return Question(row["request_id"], row["request_id"], row["history"], row["query"], {}, row["history_kinds"], ages)


def _shown(row: dict[str, Any], ordered: Sequence[str], *, within_pool: bool) -> list[str]:
    items = list(ordered)
    if within_pool:
        pool, known = set(row["pool"]), set(ordered)
        items = [item for item in ordered if item in pool] + [item for item in row["pool"] if item not in known]
    return items[: len(row["items"])]
