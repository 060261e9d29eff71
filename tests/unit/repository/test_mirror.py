"""A test of a module is found by the module's path."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[3]
# The folders of modules by the folder that Python finds them in.
SOURCES: Final = {
    TOP: ("common", "services", "pipeline", "benchmarks", "testing"),
    TOP / "clients" / "python": ("shortlist",),
}
# Modules without a test of their own by group, each group with its reason. Take a module out when its test is written.
UNMIRRORED: Final = tomllib.loads(Path(__file__).with_name("unmirrored.toml").read_text())["group"]


def _modules() -> set[str]:
    """Return the modules' paths without `.py`, packages left out."""
    found = ((file, root) for root, names in SOURCES.items() for name in names for file in (root / name).rglob("*.py"))
    return {str(file.relative_to(root).with_suffix("")) for file, root in found if file.name != "__init__.py"}


MODULES: Final = _modules()


def _mirrors() -> dict[str, str | None]:
    """Return the module that each test module below `tests/unit` mirrors."""
    unit = TOP / "tests" / "unit"
    tests = (file.relative_to(unit) for file in unit.rglob("test_*.py") if file.parent != Path(__file__).parent)
    return {str(test): _mirrored(test) for test in tests}


def _mirrored(test: Path) -> str | None:
    """Return the module whose name begins the test's; the longest one, so that an aspect may be a module's name."""
    words = test.stem.removeprefix("test_").split("_")
    candidates = (f"{test.parent}/{'_'.join(words[:count])}" for count in range(len(words), 0, -1))
    return next((module for module in candidates if module in MODULES), None)


def test_every_unit_test_mirrors_a_module():
    """`tests/unit/FOLDER/test_MODULE.py` and `test_MODULE_ASPECT.py` test the module `FOLDER/MODULE.py`."""
    strays = sorted(test for test, module in _mirrors().items() if module is None)
    assert not strays, "rename these after the module that they test, or move them to tests/integration"


def test_every_module_has_a_test_or_a_reason():
    """A new module comes with a unit test, or with a line in `unmirrored.toml`."""
    listed = {module for group in UNMIRRORED for module in group["modules"]}
    missing = sorted(MODULES - set(_mirrors().values()) - listed)
    assert not missing, "add a unit test of the same path"


@pytest.mark.parametrize("group", UNMIRRORED, ids=lambda group: group["reason"])
def test_the_list_of_modules_without_a_test_shrinks(group: dict[str, list[str]]):
    """A module that has a test, or is gone, leaves the list."""
    modules = set(group["modules"])
    assert not sorted(modules - MODULES), "these modules do not exist: take them out of unmirrored.toml"
    assert not sorted(modules & set(_mirrors().values())), "these modules have a test: take them out of unmirrored.toml"
