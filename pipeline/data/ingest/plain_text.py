"""Cells of text as shops publish them, with markup, odd spaces and written lists, as plain text."""

from __future__ import annotations

import ast
import re
from typing import Final

import polars as pl

from common.markup import plain_text

# What a written list has around and between its texts.
_LIST_MARKS: Final = re.compile(r"""^\[(?:['"]{2}, )*\s*['"]|['"],\s+['"]|['"]?\]$""")


_SPACES: Final = re.compile(r"\s+")


def plain_cell(text: str | None) -> str | None:
    """Return the plain text of a cell, spaces made single; None if nothing is left."""
    return _SPACES.sub(" ", plain_text(text)).strip() or None if text else None


def plain_list(parts: object) -> str | None:
    """Return the plain text of a list of texts, or of one; None for anything else."""
    if isinstance(parts, str):
        return plain_cell(parts)
    if not isinstance(parts, list):
        return None
    return plain_cell(" ".join(part for part in parts if isinstance(part, str)))


def plain_literal(text: str | None) -> str | None:
    """Return the plain text of a list that was written as Python writes it, such as ``['A', "B"]``, also cut off."""
    if not text or not text.startswith("["):
        return plain_cell(text)
    try:
        return plain_list(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return plain_cell(_LIST_MARKS.sub(" ", text))


def plain_column(column: str) -> pl.Expr:
    """Return the expression of a text column as plain text."""
    return pl.col(column).map_elements(plain_cell, return_dtype=pl.String)
