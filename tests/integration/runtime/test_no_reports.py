"""No library reports the use of it to its maker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SESSION = """
import importlib, sys
importlib.import_module(sys.argv[1])
import onnxruntime
print(onnxruntime.get_available_providers())
"""


@pytest.mark.parametrize("module", ["services.ranking.program", "pipeline.learning.fusion.trees"])
def test_onnx_runtime_writes_no_report(module: str, tmp_path: Path):
    """From version 1.29 on its wheels collect events below the home folder, to send them."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _SESSION, module], env={**environment, "HOME": str(tmp_path)}, check=True, timeout=120
    )
    assert not [*tmp_path.rglob("*onnxruntime*")]
