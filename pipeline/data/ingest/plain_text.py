"""Text as shops publish it, with mark-up and odd spaces, as plain text."""

from __future__ import annotations

import ast
import html
import re
from typing import Final

import polars as pl

_UNSEEN: Final = re.compile(r"(?is)<(script|style)\b.*?</\1>")


_TAG: Final = re.compile(r"</?[A-Za-z!][^<>]*>")


# What a written list has around and between its texts.
_LIST_MARKS: Final = re.compile(r"""^\[(?:['"]{2}, )*\s*['"]|['"],\s+['"]|['"]?\]$""")


_SPACES: Final = re.compile(r"\s+")


def plain_text(text: str | None) -> str | None:
    """Return text without tags and entities, spaces made single; None if nothing is left."""
    if not text:
        return None
    # Mark-up is often escaped once too often; a lone "<" before a space or a number is none either way.
    bare = _TAG.sub(" ", _UNSEEN.sub(" ", html.unescape(text)))
    return _SPACES.sub(" ", bare).strip() or None


def plain_list(parts: object) -> str | None:
    """Return the plain text of a list of texts, or of one; None for anything else."""
    if isinstance(parts, str):
        return plain_text(parts)
    if not isinstance(parts, list):
        return None
    return plain_text(" ".join(part for part in parts if isinstance(part, str)))


def plain_literal(text: str | None) -> str | None:
    """Return the plain text of a list that was written as Python writes it, such as ``['A', "B"]``, also cut off."""
    if not text or not text.startswith("["):
        return plain_text(text)
    try:
        return plain_list(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return plain_text(_LIST_MARKS.sub(" ", text))


def plain_column(column: str) -> pl.Expr:
    """Return the expression of a text column as plain text."""
    return pl.col(column).map_elements(plain_text, return_dtype=pl.String)
