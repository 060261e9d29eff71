"""Writes what Prometheus and Grafana read into the chart's files: the objectives' rules and the dashboards.

Usage: python deploy/monitoring/generate.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml
from dashboards import DASHBOARDS
from slo import slo_groups

FILES: Final = Path(__file__).parents[1] / "helm" / "shortlist" / "files"
_HEADER: Final = "# Written by deploy/monitoring/generate.py (make monitoring) from slo.py, where the objectives are.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def generated() -> Iterator[tuple[str, str]]:
    """Yield the path of each file below the chart's files, and its content."""
    rules = yaml.dump(slo_groups(), Dumper=_Dumper, sort_keys=False, width=1_000, allow_unicode=True)
    yield "rules/slo.yaml", _HEADER + rules
    for dashboard in DASHBOARDS:
        yield f"dashboards/{dashboard.uid}.json", dashboard.to_json()


def main() -> None:
    """Write the files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FILES
    for name, content in generated():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


if __name__ == "__main__":
    main()
