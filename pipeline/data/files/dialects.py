"""How a delimited text is written: lines before the heading, the delimiter, and how quotes are marked."""

from __future__ import annotations

import csv
import io
import mmap
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from pipeline.data.files.text_files import TextFile

DELIMITERS: Final = (",", ";", "\t", "|", "\x01")
_SAMPLE_BYTES: Final = 1 << 16
_SAMPLE_ROWS: Final = 200
_MAX_PREAMBLE: Final = 20
_MIN_PREAMBLE_COLUMNS: Final = 3  # a list of texts with commas has two
_MIN_EQUAL_SHARE: Final = 0.95
_SEPARATOR: Final = re.compile(r"sep=(.)[ \t]*\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    r"""How a delimited text is written.

    Attributes:
        delimiter: What parts its cells.
        skipped: How many lines come before the heading: titles, comments, or `sep=;`.
        is_escaped: Whether a quote inside of quotes is written as `\"`.
        is_spaced: Whether spaces stand between a delimiter and an opening quote.
    """

    delimiter: str
    skipped: int = 0
    is_escaped: bool = False
    is_spaced: bool = False


def find_dialect(text: TextFile, file: Path, delimiter: str | None, *, heading: bool) -> Dialect:
    """Find how a text is written, as far as it is not given.

    Args:
        text: The text, which is not empty.
        file: The file, whose suffix decides if no delimiter parts the sample.
        delimiter: What parts its cells; None finds the one that parts most rows as it parts the heading.
        heading: Whether the first row names the columns; only then may lines come before it.
    """
    sample = sample_of(text)
    skipped = 0
    if heading:
        named = _SEPARATOR.match(sample)
        delimiter = delimiter or (named[1] if named else None)
        skipped = 1 if named else _comments(sample)
        sample = _without_lines(sample, skipped)
    parted_by = delimiter or _find_delimiter(sample, file)
    first = next(csv.reader(io.StringIO(sample.lstrip("\r\n"), newline=""), delimiter=parted_by), [])
    if heading and not skipped and len(first) <= 1:  # nothing parts the first line: it may be a title
        found = [(one, _preamble(sample, one)) for one in ([delimiter] if delimiter else DELIMITERS)]
        parted_by, skipped = max(
            ((one, count) for one, count in found if count), default=(parted_by, 0), key=lambda x: x[1]
        )
        sample = _without_lines(sample, skipped)
    dialect = Dialect(parted_by, skipped)
    width = len(next(csv.reader(io.StringIO(sample, newline=""), delimiter=parted_by), []))
    escaped = replace(dialect, is_escaped=True)
    if _is_better(escaped, dialect, _lines_with(text, rb'\\"'), width):
        dialect = escaped
    spaced = replace(dialect, is_spaced=True)
    if _is_better(spaced, dialect, _lines_with(text, re.escape(parted_by.encode()) + rb' +"'), width):
        dialect = spaced
    return dialect


def plain_form(text: TextFile, dialect: Dialect) -> TextFile:
    """Return a text without the lines before its heading, and with quotes inside of quotes doubled."""
    if not dialect.skipped and not dialect.is_escaped:
        return text
    data = text.source if isinstance(text.source, bytes) else text.source.read_bytes()
    for _ in range(dialect.skipped):
        data = data[data.find(b"\n") + 1 :]
    if dialect.is_escaped:
        data = re.sub(rb'\\(["\\])', lambda match: b'""' if match[1] == b'"' else b"\\", data)
    return replace(text, source=data)


def sample_of(text: TextFile) -> str:
    """Return whole lines from a text's beginning."""
    if isinstance(text.source, bytes):
        head = text.source[:_SAMPLE_BYTES]
    else:
        with text.source.open("rb") as stream:
            head = stream.read(_SAMPLE_BYTES)
    sample = head.decode("utf-8-sig", errors="ignore")
    return sample if len(head) < _SAMPLE_BYTES else sample.rpartition("\n")[0]


def _comments(sample: str) -> int:
    """Return how many lines of comments come first; the last one is the heading if its # has no space behind it."""
    lines = sample.splitlines()
    count = 0
    for line in lines:
        if line.strip() and not line.startswith("#"):
            break
        count += 1
    if count == len(lines) or not any(line.startswith("#") for line in lines[:count]):
        return 0
    named = lines[count - 1]
    is_heading = re.match(r"#\w", named) and any(named.count(one) == lines[count].count(one) > 0 for one in DELIMITERS)
    return count - 1 if is_heading else count


def _without_lines(sample: str, count: int) -> str:
    return "".join(sample.splitlines(keepends=True)[count:])


def _rows(sample: str, delimiter: str) -> list[list[str]]:
    try:
        return list(islice(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), _SAMPLE_ROWS))
    except csv.Error:
        return []


def _preamble(sample: str, delimiter: str) -> int:
    """Return how many lines with one cell come before a table of at least three columns."""
    rows = _rows(sample, delimiter)
    begin = next((at for at, row in enumerate(rows) if len(row) > 1), 0)
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    of_table = [len(row) == width for row in rows[begin:] if row]
    if not any(rows[:begin]) or begin > _MAX_PREAMBLE or width < _MIN_PREAMBLE_COLUMNS or len(of_table) < 2:  # noqa: PLR2004 - heading and a row
        return 0
    return begin if of_table[0] and sum(of_table) >= _MIN_EQUAL_SHARE * len(of_table) else 0


def _find_delimiter(sample: str, file: Path) -> str:
    scores = {delimiter: _score(sample, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda one: scores[one])
    if scores[best][0]:
        return best
    return "\t" if ".tsv" in file.name.lower() else ","


def _score(sample: str, delimiter: str) -> tuple[float, int]:
    """Return the share of rows with as many cells as the heading, and how many these are; 0 where it is one."""
    lengths = [len(row) for row in _rows(sample, delimiter) if row]
    if not lengths or lengths[0] == 1:
        return 0.0, 0
    return sum(length == lengths[0] for length in lengths) / len(lengths), lengths[0]


def _lines_with(text: TextFile, pattern: bytes) -> list[str]:
    """Return some lines that have a pattern."""
    if isinstance(text.source, bytes):
        return _found(text.source, pattern)
    with text.source.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _found(data, pattern)


def _found(data: bytes | mmap.mmap, pattern: bytes) -> list[str]:
    places = islice((match.start() for match in re.finditer(pattern, data)), _SAMPLE_ROWS)
    found = {(data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place)) for place in places}
    return [
        bytes(data[begin : end if end >= 0 else len(data)]).decode(errors="replace") for begin, end in sorted(found)
    ]


def _is_better(one: Dialect, other: Dialect, lines: Iterable[str], width: int) -> bool:
    """Return whether more lines are sound rows in one dialect than in the other."""
    kept = list(lines)
    return sum(_is_sound(line, one, width) for line in kept) > sum(_is_sound(line, other, width) for line in kept)


def _is_sound(line: str, dialect: Dialect, width: int) -> bool:
    escape = "\\" if dialect.is_escaped else None
    reader = csv.reader(
        [line], delimiter=dialect.delimiter, strict=True, escapechar=escape, skipinitialspace=dialect.is_spaced
    )
    try:
        cells = next(reader, [])
    except csv.Error:
        return False
    return len(cells) == width and not any(cell.startswith(" ") and cell.lstrip().startswith('"') for cell in cells)
