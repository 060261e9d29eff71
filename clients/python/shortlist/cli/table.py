"""Tables for terminals, in plain characters."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Collection, Sequence
from typing import Final

_GAP: Final = "  "
_MIN_WIDTH: Final = 8


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print rows below a header; the widest columns are cut to the terminal, those in ``right`` end flush."""
    for line in table_lines(header, rows, right, shutil.get_terminal_size((120, 24)).columns):
        print(line)


def table_lines(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int], max_width: int
) -> list[str]:
    """Return the lines of a table of at most ``max_width`` cells, as far as columns of 8 allow."""
    cells = [header, *rows]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(header))]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > max_width and max(widths) > _MIN_WIDTH:
        widths[widths.index(max(widths))] -= 1
    lines = [_GAP.join(_fit(row[i], widths[i], flush=i in right) for i in range(len(header))).rstrip() for row in cells]
    return [lines[0], "-" * max(map(_width, lines)), *lines[1:]]


def _fit(text: str, width: int, *, flush: bool) -> str:
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if _width(clean) > width:
        while _width(clean) > width - 1:
            clean = clean[:-1]
        clean += "~"
    padding = " " * (width - _width(clean))
    return padding + clean if flush else clean + padding


def _width(text: str) -> int:
    """Return how many cells a terminal needs: Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1 for c in text
    )
