"""Nothing is read that could run code."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[3]
FOLDERS: Final = ("common", "services", "pipeline", "benchmarks", "testing")
# Their files run code when they are read.
UNSAFE_MODULES: Final = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
UNSAFE_ARGUMENTS: Final = {"allow_pickle": True, "weights_only": False, "trust_remote_code": True}


def _faults(source: str) -> list[str]:
    """Return what a source does that reads pickled objects or runs a model's own code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"imports {name}" for name in names if name.partition(".")[0] in UNSAFE_MODULES]
        if isinstance(node, ast.Call):
            found += _unsafe_arguments(node)
    return found


def _unsafe_arguments(call: ast.Call) -> list[str]:
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    found = [
        f"passes {name}={value.value}"
        for name, value in given.items()
        if isinstance(value, ast.Constant) and name in UNSAFE_ARGUMENTS and value.value is UNSAFE_ARGUMENTS[name]
    ]
    if ast.unparse(call.func) == "torch.load" and "weights_only" not in given:
        found.append("torch.load without weights_only=True")
    return found


def test_no_module_reads_pickled_objects():
    """No source imports a module of pickled objects, allows numpy or torch to read them, or trusts a model's code."""
    files = [file for folder in FOLDERS for file in (TOP / folder).rglob("*.py") if "_pb2" not in file.name]
    faults = {str(file.relative_to(TOP)): found for file in files if (found := _faults(file.read_text()))}
    assert len(files) > 400
    assert not faults


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import numpy.lib, dill.source",
        "np.load(file, allow_pickle=True)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_each_way_is_noticed(source: str):
    """The rule finds every way that it names."""
    assert _faults(source)
