"""Questions of a table of one's own."""

from __future__ import annotations

from pathlib import Path

from common.errors import InvalidRequest
from pipeline.data.files.tables import read_table
from pipeline.measurement.questions.protocols import Question, Questions, sample


def read_questions(file: Path, users: int | None, seed: int) -> Questions:
    """Read questions from a table with ``user_id``, ``history`` (a list of item ids, oldest first) and ``target``.

    Raises:
        BadDataset: The file or a column is missing.
        InvalidRequest: The file has no rows.
    """
    table = read_table(file, {column: column for column in ("user_id", "history", "target")})
    if table.is_empty():
        raise InvalidRequest(f"{file} has no rows; name a file with questions")
    rows = enumerate(sample(list(table.iter_rows()), users, seed))
    asked = [
        Question(f"{user}#{number}", user, tuple(history), "", {target: 1.0})
        for number, (user, history, target) in rows
    ]
    return Questions(
        "given",
        f"the {len(asked):,} questions of {file.name}: a history, and the item that followed",
        asked,
        notes=["Whether the release learned from these rows is not known."],
    )
