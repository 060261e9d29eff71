"""What does TLS cost `Recommend`?

The three services run twice on a tiny release, once in the clear and once with mutual TLS on every connection. The same
callers load one and then the other, in turns, so that whatever else the machine does meets both. Connections are kept.
The tiny release makes the rest of a call cheap, and so TLS's share of it large.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.harness.answer_rates import CALLERS, Target, answer_rates
from benchmarks.harness.record import Result, at_least
from common.server import event_loop
from pipeline.local_services import local_services
from testing.security.certificates import Authority
from testing.tiny_shop import build_tiny_release

_MIN_SHARE: Final = 0.9


def run(quick: bool, console: Console) -> Result:
    """Load both in turns; quick makes fewer and shorter turns."""
    del console
    with tempfile.TemporaryDirectory(prefix="tls-") as name, ExitStack() as servers:
        folder = Path(name)
        release = build_tiny_release(folder)
        authority = Authority(folder)
        files, client = authority.issue("services"), authority.client("caller")
        tls = {
            "SHORTLIST_LOCAL_TLS_CERTIFICATE": str(files.certificate),
            "SHORTLIST_LOCAL_TLS_KEY": str(files.key),
            "SHORTLIST_LOCAL_TLS_CA": str(authority.file),
            "SHORTLIST_LOCAL_TLS_CLIENT_CA": str(authority.file),
        }
        clear = servers.enter_context(local_services(release, folder / "clear"))
        secured = servers.enter_context(local_services(release, folder / "secured", tls, client))
        targets: dict[str, Target] = {
            "in the clear": (clear.targets["gateway"], None),
            "mutual TLS": (secured.targets["gateway"], client),
        }
        rates = event_loop.run(answer_rates(targets, turns=3 if quick else 15, turn_s=2.0 if quick else 5.0))
    return _result(rates)


def _result(rates: dict[str, list[float]]) -> Result:
    ratios = [secured / clear for secured, clear in zip(rates["mutual TLS"], rates["in the clear"], strict=True)]
    share = statistics.median(ratios)
    figures = {f"answers a second, {name}": statistics.median(values) for name, values in rates.items()}
    figures |= {"mutual TLS / in the clear, median": share, "lowest turn": min(ratios), "highest turn": max(ratios)}
    table = Table("figure", "value", title=f"{len(ratios)} turns, {CALLERS} callers")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    return Result(figures, [at_least("answers with TLS / without", _MIN_SHARE, share)], [table])
