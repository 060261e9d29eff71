"""Texts are normalised in one place."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[3]
FOLDERS: Final = ("common", "services", "pipeline")
# torch's and torch.nn.functional's `normalize` is of vectors.
FOLDING: Final = frozenset({"casefold", "lower", "to_lowercase"})
EXCEPTIONS: Final = tomllib.loads((Path(__file__).parent / "case_folding.toml").read_text())["group"]


def _folds(source: str) -> bool:
    """Return whether a source changes the case of text or its Unicode form."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in FOLDING:
            return True
        if isinstance(node, ast.Import) and any(alias.name == "unicodedata" for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "unicodedata":
            return True
    return False


def test_texts_are_normalised_in_one_place():
    """Only `common/text.py` does, and modules that fold something else for the reason in case_folding.toml."""
    files = [file for folder in FOLDERS for file in (TOP / folder).rglob("*.py") if "_pb2" not in file.name]
    found = {str(file.relative_to(TOP)) for file in files if _folds(file.read_text())}
    allowed = [module for group in EXCEPTIONS for module in group["modules"]]
    assert all(group["reason"] for group in EXCEPTIONS)
    assert len(allowed) == len(set(allowed))
    assert found == set(allowed), "use `normalised` or `folded` of common/text.py, or give the reason"


@pytest.mark.parametrize(
    "source",
    [
        "import unicodedata",
        "from unicodedata import normalize",
        "text.casefold()",
        "sorted(words, key=str.lower)",
        "pl.col('title').str.to_lowercase()",
    ],
)
def test_each_way_is_noticed(source: str):
    """The rule finds every way that it names."""
    assert _folds(source)
