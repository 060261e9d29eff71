"""``python -m benchmarks NAME``: runs one benchmark, prints its tables and thresholds, and records them."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final

from rich.console import Console
from rich.markup import escape

from benchmarks.harness.ages import ages_table, recorded_ages
from benchmarks.harness.record import (
    RESULTS,
    TOP,
    Result,
    print_result,
    recorded_thresholds,
    thresholds_table,
    write_result,
)
from common.errors import ShortlistError

# By name: the module and choice it measures. The module has `run(quick: bool, console: Console) -> Result`.
BENCHMARKS: Final = {
    "compression": (
        "ranking.compression",
        "size, pairs/s and quality of the cross-encoder in int8, fp16, fewer layers and fewer tokens",
    ),
    "offline-online-retail": (
        "offline.online_retail",
        "next purchases of known and unseen customers through the gateway, compared with single methods",
    ),
    "offline-amazon-office": (
        "offline.amazon_office",
        "next items of the official test split through the gateway, and an ablation",
    ),
    "offline-home-depot": (
        "offline.home_depot",
        "judged searches re-ranked: second stage compared with BM25 and encoder, test queries",
    ),
    "complete-journey": (
        "offline.complete_journey",
        "popular items, first stage and two stages on held-out purchases, through the gateway",
    ),
    "freshness": (
        "offline.freshness",
        "the same models with tables up to the request, and with tables as old as releases used to serve",
    ),
    "language-lexical": (
        "language.lexical",
        "Home Depot's titles searched by words: recall with and without repair of spelling, and with typing errors",
    ),
    "update": ("offline.update", "a day's events and items into a new release: time compared with a build"),
    "demo-served": (
        "gateway.demo_served",
        "latency and answers/s of the demo's gateway by history and by query, client included, and its quality",
    ),
    "diversity": (
        "offline.diversity",
        "NDCG@10 against intra-list diversity and the long tail's share, Online Retail through the gateway",
    ),
    "text-pays": (
        "offline.text_pays",
        "two stages with text tiers compared with two stages without: typed searches, new items, other occasions",
    ),
    "retrieval-crash": (
        "retrieval.crash",
        "kill -9 of a retrieval server during catalogue changes: lost and restored changes",
    ),
    "retrieval-replicas": (
        "retrieval.replicas",
        "two retrieval servers and Redis: time until both find a change, and catching up",
    ),
    "prepare-growth": ("preparation.growth", "time and memory of preparing 10,000 to 10,000,000 events"),
    "purchase-encoder": (
        "offline.purchase_encoder",
        "the encoder fine-tuned on purchases compared with the base model, validation users",
    ),
    "ranking-growth": ("ranking.growth", "pairs/s and memory by number of candidates, tokens and callers"),
    "ranking-overload": (
        "ranking.overload",
        "goodput, lateness and refusals at four times the capacity of the ranking service",
    ),
    "ranking-parity": (
        "ranking.parity",
        "differences of logits: served and torch, alone and in a batch, int8 and float32",
    ),
    "ranking-peers": (
        "ranking.peers",
        "throughput of the ranking service compared with Infinity and sentence-transformers",
    ),
    "peers-whole": (
        "ranking.peers_whole",
        "the three servers compared with hnswlib and LanceDB in front of a cross-encoder that reads 100 candidates",
    ),
    "ranking-tiers": ("ranking.tiers", "late interaction, alone and before the cross-encoder: speed, quality, storage"),
    "ranking-history-tiers": (
        "ranking.history_tiers",
        "late interaction and cross-encoder on histories, alone and fused; gain per ms",
    ),
    "ranking-served": ("ranking.served", "throughput of the ranking service compared with ONNX Runtime in a bare loop"),
    "retrieval-recall": (
        "retrieval.recall",
        "recall of the first stage against exact search, filtered and during changes",
    ),
    "retrieval-served": (
        "retrieval.served",
        "throughput of the service, client included, compared with hnswlib in one process",
    ),
    "suggest": (
        "retrieval.suggest",
        "completed texts at 100,000 titles: latency, and the share of texts with a typo that find what was wanted",
    ),
    "retrieval-million": ("retrieval.million", "build, memory, load and latency up to a million vectors"),
    "fuzz": ("reliability.fuzz", "random inputs for every RPC, the release loader and prepare: crashes, faults, hangs"),
    "chaos": (
        "reliability.chaos",
        "kills, hangs, cut connections, full disks and wrong clocks under load: what is lost, and recovery",
    ),
    "soak": ("reliability.soak", "slopes of memory, descriptors and threads over half an hour of mixed load"),
    "capacity": (
        "scaling.capacity",
        "core-ms of a call by stage and depth here; pods, memory and cost of a load; saturation against prediction",
    ),
    "rolling": (
        "scaling.rolling",
        "both services and the gateways replaced under load through Envoy: calls lost, p99, share of a new replica",
    ),
    "tls": ("security.tls", "answers a second of Recommend with mutual TLS and without"),
    "system-trials": ("faults.system_trials", "known faults of servers, one after the other, on real processes"),
    "closed-loop": (
        "gateway.closed_loop",
        "rounds of serve, log and train in a simulated shop: true reward by round, and off-policy estimates",
    ),
    "burst": ("faults.burst", "4,000 calls at once: what callers get, and what the gateway counts"),
    "cancelled-calls": ("faults.cancelled_calls", "the gateway's memory while callers give up 100,000 calls"),
    "tracing": ("gateway.tracing", "answers a second of Recommend with a tenth of the calls traced and without"),
    "stalled-peer": ("reliability.stalled_peer", "answers of the gateway while ranking is stopped, and recovery"),
    "retrieval-churn": ("retrieval.churn", "search latency while items are upserted"),
}
_DEFAULT_INDEX: Final = "hnsw"
# Benchmarks of which `run` takes the name of an index as its third argument.
_WITH_INDEX: Final = frozenset({"retrieval-recall", "retrieval-served", "retrieval-churn"})


def main() -> int:
    """Run a benchmark; returns the exit code, 1 if a recorded threshold does not hold or data is missing."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.index != _DEFAULT_INDEX and arguments.name not in _WITH_INDEX:
        parser.error(f"--index is for {', '.join(sorted(_WITH_INDEX))}")
    console = Console()
    if arguments.check:
        thresholds = recorded_thresholds()
        console.print(thresholds_table(thresholds))
        modules = {name: module for name, (module, _) in BENCHMARKS.items()}
        console.print(ages_table(recorded_ages(RESULTS, modules, TOP)))
        return 0 if all(threshold.holds for found in thresholds.values() for threshold in found) else 1
    module = importlib.import_module(f"benchmarks.{BENCHMARKS[arguments.name][0]}")
    try:
        options = () if arguments.index == _DEFAULT_INDEX else (arguments.index,)
        result: Result = module.run(arguments.quick, console, *options)
    except ShortlistError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
        return 1
    print_result(result, console)
    file = write_result("-".join([arguments.name, *options]), result, quick=arguments.quick)
    console.print(f"Written to {file}" if file else "A quick run is not recorded")
    return 0


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:24} {question}" for name, (_, question) in sorted(BENCHMARKS.items()))
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Benchmarks:\n" + listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), metavar="NAME", help="the benchmark to run")
    choice.add_argument(
        "--check",
        action="store_true",
        help="list every recorded threshold, and the results that are older than what they measured",
    )
    parser.add_argument("--quick", action="store_true", help="a smaller run of under a minute, not recorded")
    parser.add_argument(
        "--index",
        choices=[_DEFAULT_INDEX, "pq"],
        default=_DEFAULT_INDEX,
        help=f"the index, for {', '.join(sorted(_WITH_INDEX))}; pq is recorded under its own name",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
