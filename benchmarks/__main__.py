"""``python -m benchmarks NAME``: runs one benchmark, prints its tables and bars, and records them."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final

from rich.console import Console
from rich.markup import escape

from benchmarks.harness.record import Result, bars_table, recorded, show, write
from common.errors import ShortlistError

# By name: the module, and the question. The module has `run(quick: bool, console: Console) -> Finding`.
BENCHMARKS: Final = {
    "compression": (
        "ranking.compression",
        "size, pairs/s and quality of the cross-encoder in int8, fp16, fewer layers and fewer tokens",
    ),
    "offline-online-retail": (
        "offline.online_retail",
        "next purchases of known and unseen customers beside single methods, through the gateway",
    ),
    "offline-amazon-office": (
        "offline.amazon_office",
        "next items of the official test split, through the gateway, with ablation",
    ),
    "offline-home-depot": (
        "offline.home_depot",
        "judged searches re-ranked: second stage against BM25 and encoder, on the test queries",
    ),
    "complete-journey": (
        "offline.complete_journey",
        "popular, first stage and two stages on held-out purchases, through the gateway",
    ),
    "retrieval-crash": (
        "retrieval.crash",
        "kill -9 of a retrieval server while items are changed: what is lost, what comes back",
    ),
    "retrieval-replicas": (
        "retrieval.replicas",
        "two retrieval servers and Redis: how soon a change is found on both, and catching up",
    ),
    "purchase-encoder": (
        "offline.purchase_encoder",
        "the encoder fine-tuned on purchases beside the base model, on validation users",
    ),
    "ranking-growth": ("ranking.growth", "pairs/s as candidates, tokens and callers grow; memory"),
    "ranking-overload": (
        "ranking.overload",
        "goodput, lateness and refusals at four times what the ranking service can do",
    ),
    "ranking-parity": (
        "ranking.parity",
        "served logits against torch's, alone against in a batch, int8 against float32",
    ),
    "ranking-peers": ("ranking.peers", "the ranking service against Infinity and sentence-transformers"),
    "ranking-tiers": ("ranking.tiers", "late interaction alone and before the cross-encoder: speed, quality, storage"),
    "ranking-history-tiers": (
        "ranking.history_tiers",
        "late interaction and cross-encoder beside histories, alone and in the fusion; gain a ms",
    ),
    "ranking-served": ("ranking.served", "the ranking service against ONNX Runtime in a bare loop"),
    "retrieval-recall": (
        "retrieval.recall",
        "what the first stage finds of what exact search finds, filtered and while items change",
    ),
    "retrieval-served": ("retrieval.served", "the service, client included, beside hnswlib in one process"),
    "retrieval-million": ("retrieval.million", "a million vectors: build, memory, load, latency, and how they grow"),
    "retrieval-churn": ("retrieval.churn", "searching while items are upserted"),
}


_DEFAULT_INDEX: Final = "hnsw"


# Benchmarks that can be run with another index: their `run` takes its name as a third argument.
_WITH_INDEX: Final = frozenset({"retrieval-recall", "retrieval-served", "retrieval-churn"})


def main() -> int:
    """Run what was asked for; returns the exit code, 1 where a recorded bar does not hold or data is missing."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.index != _DEFAULT_INDEX and arguments.name not in _WITH_INDEX:
        parser.error(f"--index is for {', '.join(sorted(_WITH_INDEX))}")
    console = Console()
    if arguments.check:
        bars = recorded()
        console.print(bars_table(bars))
        return 0 if all(bar.holds for found in bars.values() for bar in found) else 1
    module = importlib.import_module(f"benchmarks.{BENCHMARKS[arguments.name][0]}")
    try:
        options = () if arguments.index == _DEFAULT_INDEX else (arguments.index,)
        finding: Result = module.run(arguments.quick, console, *options)
    except ShortlistError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        return 1
    show(finding, console)
    file = write("-".join([arguments.name, *options]), finding, quick=arguments.quick)
    console.print(f"Written to {file}" if file else "A quick run: nothing is recorded")
    return 0


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:24} {what}" for name, (_, what) in sorted(BENCHMARKS.items()))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measurements, one a question:\n" + listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), metavar="NAME", help="which benchmark to run")
    what.add_argument("--check", action="store_true", help="list every recorded bar instead")
    parser.add_argument("--quick", action="store_true", help="a smaller run, under a minute, that is not recorded")
    parser.add_argument(
        "--index",
        choices=[_DEFAULT_INDEX, "pq"],
        default=_DEFAULT_INDEX,
        help=f"what searches the vectors, for {', '.join(sorted(_WITH_INDEX))}; pq is recorded under a name of its own",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
