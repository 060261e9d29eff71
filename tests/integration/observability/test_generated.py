"""What deploy/monitoring writes is what is stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[3]
FILES = TOP / "deploy" / "helm" / "shortlist" / "files"


def test_what_is_stored_is_what_the_code_writes(tmp_path: Path):
    """Change deploy/monitoring and run `make monitoring`; the files are not to be edited."""
    script = TOP / "deploy" / "monitoring" / "generate.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)  # noqa: S603 - our own script
    written = {str(file.relative_to(tmp_path)): file.read_text() for file in tmp_path.rglob("*.*")}
    stored = {name: (FILES / name).read_text() for name in written}
    assert written == stored
    dashboards = {str(file.relative_to(FILES)) for file in (FILES / "dashboards").glob("*")}
    assert dashboards <= written.keys()
