"""The notebook that is an example; `make notebook` executes it."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from pathlib import Path
from typing import Any, Final

EXAMPLES: Final = Path(__file__).parents[3] / "examples"


def _code_cells() -> list[dict[str, Any]]:
    notebook = json.loads((EXAMPLES / "quality.ipynb").read_text())
    assert notebook["nbformat"] == 4
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_it_has_no_outputs():
    """Outputs are what a run makes: they have no place in the repository."""
    cells = _code_cells()
    assert len(cells) >= 4
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


def test_its_imports_exist():
    """Each import is of the standard library, of the client, or of a package that is installed for it."""
    pinned = {line.partition("==")[0] for line in (EXAMPLES / "requirements.txt").read_text().splitlines()}
    for cell in _code_cells():
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shortlist"):
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                for top in (name.partition(".")[0] for name in names):
                    assert top in sys.stdlib_module_names or top in pinned
