"""Build hook: generates the Python stubs of the contract next to its protos.

The proto root is the Python root, so the generated imports need no rewriting.
"""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsBuildHook(BuildHookInterface):
    """Runs protoc for messages, services and their types before a wheel or an editable install is made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Generate ``*_pb2.py``, ``*_pb2.pyi``, ``*_pb2_grpc.py`` and ``*_pb2_grpc.pyi``."""
        generate(Path(self.root) / "protos")


def generate(root: Path) -> None:
    """Generate the stubs of every proto below ``root``; raises RuntimeError if protoc fails."""
    protos = sorted(str(path.relative_to(root)) for path in root.rglob("*.proto"))
    bin_folder = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"-I{root}",
        f"-I{files('grpc_tools') / '_proto'}",
        f"--python_out={root}",
        f"--grpc_python_out={root}",
        f"--mypy_out=quiet:{root}",
        f"--mypy_grpc_out=quiet:{root}",
        *_plugins(bin_folder),
        *protos,
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed on the contract; see its message above")


def _plugins(bin_folder: Path) -> list[str]:
    """Return mypy-protobuf's plugins by path, since pip's isolated build environment may not have them on PATH."""
    found = {name: shutil.which(name) or str(bin_folder / name) for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")}
    return [f"--plugin={name}={path}" for name, path in found.items()]
