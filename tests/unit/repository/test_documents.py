"""What the documents name exists."""

from __future__ import annotations

import importlib.util
import os
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[3]
DOCUMENTS: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(str(file.relative_to(TOP)) for file in (TOP / "docs").rglob("*.md")),
)
FOLDERS: Final = (
    "common",
    "services",
    "pipeline",
    "benchmarks",
    "testing",
    "tests",
    "docs",
    "protos",
    "deploy",
    "clients",
)
# A path of the repository between backticks; `<name>` stands for any name.
PATH: Final = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./<>…-]*)`")
FOLDER: Final = re.compile(r"`(\w+)/`")
TARGETS: Final = re.compile(r"`make ((?:[a-z-]+ ?)+)")
MODULE: Final = re.compile(r"python -m ((?:benchmarks|pipeline|services|testing)[\w.]*)")
# `Name` (`path`), `Name` in `path`, `Name` and `Name` of `path`.
SYMBOLS: Final = re.compile(r"((?:`\w+`(?:,| and)\s+)*`\w+`)\s+(?:in\s+|of\s+|\()`([\w/]+\.(?:py|proto))`")
LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(params=DOCUMENTS)
def document(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """Return a document and its text."""
    file = TOP / request.param
    return file, file.read_text()


def test_paths_exist(document: tuple[Path, str]):
    """Every path below a folder of the repository exists."""
    paths = {re.sub(r"<\w+>|…", "*", path) for path in PATH.findall(document[1])}
    assert not sorted(path for path in paths if not any(TOP.glob(path)))


def test_folders_exist(document: tuple[Path, str]):
    """A folder that is named without its path exists somewhere in the repository."""
    assert not set(FOLDER.findall(document[1])) - _folders()


def test_make_targets_exist(document: tuple[Path, str]):
    """Every target of `make` is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    assert not {target for named in TARGETS.findall(document[1]) for target in named.split()} - targets


def test_modules_can_be_run(document: tuple[Path, str]):
    """Every `python -m` names a module of the repository."""
    modules = {module.rstrip(".") for module in MODULE.findall(document[1])}
    assert not sorted(module for module in modules if importlib.util.find_spec(module) is None)


def test_symbols_are_defined_where_they_are_said_to_be(document: tuple[Path, str]):
    """A name given together with its file is defined in that file."""
    named = [
        (name, path)
        for names, path in SYMBOLS.findall(document[1])
        for name in re.findall(r"\w+", names.replace(" and", ""))
    ]
    missing = [f"{path}:{name}" for name, path in named if not _defines(TOP / path, name)]
    assert not missing


def test_links_lead_to_a_file_and_a_heading(document: tuple[Path, str]):
    """A relative link leads to a file of the repository, and its anchor to a heading of that file."""
    file, text = document
    links = {link.partition("#")[::2] for link in LINK.findall(text) if "://" not in link}
    broken = [f"{path}#{anchor}" for path, anchor in links if not _leads(file.parent / path if path else file, anchor)]
    assert not sorted(broken)


@cache
def _folders() -> frozenset[str]:
    below = (Path(folder).name for top in FOLDERS for folder, _, _ in os.walk(TOP / top))
    return frozenset(below).union(FOLDERS)


def _defines(file: Path, name: str) -> bool:
    definition = rf"^\s*(?:class |def |async def |message |enum )?{name}\b"
    return file.is_file() and re.search(definition, file.read_text(), re.MULTILINE) is not None


def _leads(file: Path, anchor: str) -> bool:
    if not anchor:
        return file.exists()
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE) if file.is_file() else []
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
