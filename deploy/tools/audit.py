"""Compares packages with the known vulnerabilities of PyPI, and says how many could be compared.

Usage: python -m pip freeze | python deploy/tools/audit.py PIP_AUDIT

pip-audit finds no vulnerabilities where it finds no advisories either: a package that its service does not know is
left out, with exit code 0. Here the exit code is 1 if there is a vulnerability, or if no package was compared.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

FLAGS = ("--requirement", "/dev/stdin", "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off")
SHOWN = 10


def main(program: str) -> int:
    """Write one line for each vulnerability and one for the whole; returns the exit code."""
    packages = re.sub(r"(==[^+\n]*)\+\S*", r"\1", sys.stdin.read())  # advisories are of 2.13.0, not of 2.13.0+cpu
    ended = subprocess.run([program, *FLAGS], input=packages, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        dependencies = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (ended.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return _nothing(f"the advisories of PyPI cannot be reached: {reason[:300]}")
    compared = [each for each in dependencies if "skip_reason" not in each]
    if not compared:
        return _nothing(f"PyPI's index as reached from here has advisories of none of the {len(dependencies)} packages")
    return _report(compared, [each["name"] for each in dependencies if "skip_reason" in each])


def _nothing(reason: str) -> int:
    sys.stderr.write(f"Nothing was audited: {reason}. Run it where https://pypi.org/pypi answers\n")
    return 1


def _report(compared: Sequence[dict[str, Any]], left_out: Sequence[str]) -> int:
    found = [(package, each) for package in compared for each in package["vulns"]]
    for package, each in found:
        fixes = ", ".join(each["fix_versions"]) or "none yet"
        sys.stdout.write(f"{package['name']} {package['version']}: {each['id']}, fixed in: {fixes}\n")
    names = ", ".join(left_out[:SHOWN]) + (" …" if len(left_out) > SHOWN else "")
    without = f"; {len(left_out)} have no advisories there: {names}" if left_out else ""
    sys.stdout.write(f"{len(found)} known vulnerabilities in {len(compared)} packages{without}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
