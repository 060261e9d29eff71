"""The wheel in environments of its own, with old and new protobuf: `make test-wheel`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[3]
ENVIRONMENTS: Final = sorted((TOP / ".venv-wheel").glob("*/bin/python"))


@pytest.fixture(params=ENVIRONMENTS, ids=[python.parts[-3] for python in ENVIRONMENTS])
def python(request: pytest.FixtureRequest) -> Path:
    if not (TOP / ".venv-wheel" / "ready").exists():
        pytest.skip("the environments are not there; `make test-wheel` makes them")
    found: Path = request.param
    return found


def test_the_client_works_with_the_protobuf_of_its_environment(python: Path, tmp_path: Path):
    """Every method, from the installed wheel and not from the checkout."""
    program = [str(python), "-I", str(Path(__file__).with_name("smoke.py"))]
    said = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip() == python.parts[-3]


def test_the_wheel_has_the_program(python: Path, tmp_path: Path):
    """`shortlist` starts, and says of the checkout's commands that they need it."""
    program = str(python.with_name("shortlist"))
    version = subprocess.run([program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert version.stdout.strip() == "shortlist 0.1.0"
    build = subprocess.run([program, "build"], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert (build.returncode, "needs the checkout" in build.stderr) == (1, True)


def test_the_wheel_needs_grpcio_and_protobuf_alone(python: Path):
    """Nothing else is installed in an environment made by `pip install shortlist`."""
    command = [str(python), "-m", "pip", "list", "--format=freeze"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    names = {line.partition("==")[0].lower().replace("_", "-") for line in listed.stdout.splitlines() if "==" in line}
    assert names - {"pip", "setuptools"} == {"shortlist", "grpcio", "protobuf", "typing-extensions"}
