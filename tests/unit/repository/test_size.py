"""Files and folders stay small enough to be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parents[3]
FOLDERS: Final = ("clients", "common", "services", "pipeline", "benchmarks", "testing", "tests")
MAX_MODULES: Final = 12
MAX_LINES: Final = 300


def _files() -> list[Path]:
    files = (file for folder in FOLDERS for file in (TOP / folder).rglob("*.py"))
    return [file for file in files if "node_modules" not in file.parts]


def test_no_folder_holds_more_than_a_dozen_modules():
    """A folder has at most 12 modules, `__init__.py` apart."""
    counts = Counter(str(file.parent.relative_to(TOP)) for file in _files() if file.name != "__init__.py")
    assert not {folder: count for folder, count in counts.items() if count > MAX_MODULES}


def test_no_module_is_longer_than_300_lines():
    """A module has at most 300 lines, a test module too."""
    lines = {str(file.relative_to(TOP)): file.read_text().count("\n") for file in _files()}
    assert not {file: count for file, count in lines.items() if count > MAX_LINES}
