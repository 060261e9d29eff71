"""``top``: rates, latencies, queue and tiers of running servers, from their Prometheus pages."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final
from urllib.request import urlopen

from shortlist.cli.table import print_table

_SAMPLE: Final = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_CLEAR: Final = "\x1b[H\x1b[2J"
Labels = tuple[tuple[str, str], ...]
Page = Mapping[str, Mapping[Labels, float]]


def add_commands(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("top", help="show rates and latencies of running servers")
    parser.set_defaults(run=_run)
    parser.add_argument(
        "--metrics",
        default="localhost:9091,localhost:9092,localhost:9093",
        help="addresses of Prometheus pages with commas between (default %(default)s)",
    )
    parser.add_argument("--interval-s", type=float, default=2.0, help="seconds between looks (default %(default)s)")
    parser.add_argument("--once", action="store_true", help="print one look, and end")


def _run(arguments: argparse.Namespace) -> int:
    addresses = [address.strip() for address in arguments.metrics.split(",") if address.strip()]
    before = {address: _page(address) for address in addresses}
    while True:
        began_s = time.monotonic()
        time.sleep(arguments.interval_s)
        now = {address: _page(address) for address in addresses}
        seconds = time.monotonic() - began_s
        if not arguments.once:
            print(_CLEAR, end="")
        rows = [row for address in addresses for row in rows_of(address, before[address], now[address], seconds)]
        print_table(
            ["server", "method", "calls/s", "errors/s", "p50 ms", "p99 ms", "in flight"], rows, right={2, 3, 4, 5, 6}
        )
        if arguments.once:
            return 0
        before = now


def rows_of(address: str, before: Page | None, now: Page | None, seconds: float) -> list[list[str]]:
    """Return a row for each method that a server was called with between two looks; one row if it was not called."""
    if before is None or now is None:
        return [[address, "does not answer", "", "", "", "", ""]]
    prefix = next((name.removesuffix("_requests_total") for name in now if name.endswith("_requests_total")), "")
    server = prefix.removeprefix("shortlist_") or address
    in_flight = f"{sum(now.get(f'{prefix}_requests_in_flight', {}).values()):.0f}"
    calls, errors = _rates(f"{prefix}_requests_total", before, now)
    rows = []
    for method in sorted(calls):
        buckets = _buckets(f"{prefix}_request_seconds_bucket", method, before, now)
        rows.append(
            [
                server,
                method.rpartition("/")[2],
                f"{calls[method] / seconds:.1f}",
                f"{errors[method] / seconds:.1f}",
                *(f"{1_000 * quantile(buckets, share):.1f}" for share in (0.5, 0.99)),
                in_flight,
            ]
        )
    return rows or [[server, "no calls", "0.0", "0.0", "", "", in_flight]]


def _rates(name: str, before: Page, now: Page) -> tuple[dict[str, float], dict[str, float]]:
    calls: dict[str, float] = defaultdict(float)
    errors: dict[str, float] = defaultdict(float)
    for labels, value in now.get(name, {}).items():
        more = value - before.get(name, {}).get(labels, 0.0)
        fields = dict(labels)
        if more > 0:
            calls[fields.get("method", "")] += more
            errors[fields.get("method", "")] += more * (fields.get("code") != "OK")
    return calls, errors


def _buckets(name: str, method: str, before: Page, now: Page) -> list[tuple[float, float]]:
    """Return the new observations up to each bound of a histogram, by bound in seconds."""
    found = []
    for labels, value in now.get(name, {}).items():
        fields = dict(labels)
        if fields.get("method") == method:
            found.append((float(fields["le"]), value - before.get(name, {}).get(labels, 0.0)))
    return sorted(found)


def quantile(buckets: list[tuple[float, float]], share: float) -> float:
    """Return a quantile of a cumulative histogram, linear within its bucket, as Prometheus does; NaN if it is empty."""
    if not buckets or buckets[-1][1] <= 0:
        return math.nan
    wanted, lower, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * ((wanted - below) / (count - below) if count > below else 1.0)
        lower, below = bound, count
    return lower


def _page(address: str) -> Page | None:
    """Return the samples of a Prometheus page by name and labels; None if the server does not answer."""
    try:
        with urlopen(f"http://{address}/metrics", timeout=2) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    return samples(text)


def samples(text: str) -> Page:
    """Return the samples of a page in Prometheus' text format."""
    page: dict[str, dict[Labels, float]] = defaultdict(dict)
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found:
            page[found[1]][tuple(_LABEL.findall(found[2] or ""))] = float(found[3])
    return page
