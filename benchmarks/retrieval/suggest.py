"""Completing texts at 100,000 titles: latency, and how often a text with a typo finds what was wanted.

Titles are those of the local data (Home Depot, Amazon Office, Taobao). If they are fewer than 100,000, further ones are
made of the halves of two titles of Home Depot. A made prefix is the first one to four words of a title. The last one is
cut, and a word of at least four letters has one typo (a letter more, less or other, or two swapped). It is found if one
of the ten suggestions has all the words of the title that the prefix has or begins.

The time is that of the first stage, without the network.
"""

from __future__ import annotations

import os
import random
import string
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.harness.record import TOP, Result, at_least, at_most
from common.errors import NotFound
from common.release.catalogue import SCHEMA, Catalogue
from common.text import title_words
from services.retrieval.catalogue.live_catalogue import LiveCatalogue
from services.retrieval.suggestions.live_suggestions import LiveSuggestions
from services.retrieval.suggestions.typed_text import TypedText

_TITLES: Final = 100_000
_PREFIXES: Final = 1_000
_MAX_WORDS: Final = 4
_MIN_LETTERS: Final = 4
_SEED: Final = 7
_SETS: Final = ("home-depot", "amazon-office", "taobao-titles")


class _Prefix(NamedTuple):
    """What a user types, and the words of the title that it has or begins."""

    typed: str
    wanted: frozenset[str]


def run(quick: bool, console: Console) -> Result:
    """Measure latency and hits; quick: a tenth of the titles and of the prefixes."""
    del console
    share = 10 if quick else 1
    generator = random.Random(_SEED)
    titles = _titles(_TITLES // share, generator)
    catalogue = LiveCatalogue(_catalogue(titles), 1)
    popularity = np.random.default_rng(_SEED).pareto(1.2, len(titles)).astype(np.float32)
    began = time.perf_counter()
    suggestions = LiveSuggestions(catalogue.snapshot, popularity)
    build_s = time.perf_counter() - began
    prefixes = [_prefix(titles, generator) for _ in range(_PREFIXES // share)]
    right = [_right_prefix(titles, generator) for _ in prefixes]
    typos_ms, hits = _complete(suggestions, catalogue, prefixes)
    right_ms, right_hits = _complete(suggestions, catalogue, right)
    figures = {
        "titles": len(titles),
        "prefixes": len(prefixes),
        "index_s": build_s,
        "with_a_typo": {"share_found": hits, **_quantiles(typos_ms)},
        "without": {"share_found": right_hits, **_quantiles(right_ms)},
    }
    table = Table("prefixes", "found", "p50 ms", "p99 ms", title=f"Complete at {len(titles):,} titles")
    for name in ("with_a_typo", "without"):
        each: dict[str, float] = figures[name]  # type: ignore[assignment]
        table.add_row(name, f"{each['share_found']:.1%}", f"{each['p50_ms']:.2f}", f"{each['p99_ms']:.2f}")
    thresholds = [
        at_most("p99 of texts with a typo, ms", 10.0, float(np.quantile(typos_ms, 0.99))),
        at_most("p99 of texts without a typo, ms", 10.0, float(np.quantile(right_ms, 0.99))),
        at_least("share of texts with a typo whose words are among 10", 0.85, hits),
    ]
    return Result(figures, thresholds, [table])


def _complete(
    suggestions: LiveSuggestions, catalogue: LiveCatalogue, prefixes: Sequence[_Prefix]
) -> tuple[list[float], float]:
    """Complete each prefix once; returns the times in ms, and the share that found what was wanted."""
    times_ms, hits = [], 0
    snapshot = catalogue.snapshot
    for prefix in prefixes:
        began = time.perf_counter()
        found = suggestions.complete(TypedText.read(prefix.typed), 10, snapshot, snapshot.is_live)
        times_ms.append((time.perf_counter() - began) * 1e3)
        hits += any(prefix.wanted <= set(title_words(each.text)) for each in found)
    return times_ms, hits / len(prefixes)


def _quantiles(times_ms: Sequence[float]) -> dict[str, float]:
    return {"p50_ms": float(np.median(times_ms)), "p99_ms": float(np.quantile(times_ms, 0.99))}


def _prefix(titles: Sequence[str], generator: random.Random) -> _Prefix:
    """Return the beginning of a title with a typo in one of its words."""
    while True:
        words, wanted = _beginning(titles, generator)
        letters = [
            at for at, word in enumerate(words) if len(word) >= _MIN_LETTERS and word.isalpha() and word.isascii()
        ]
        if letters:
            at = generator.choice(letters)
            words[at] = _with_typo(words[at], generator)
            return _Prefix(" ".join(words), wanted)


def _right_prefix(titles: Sequence[str], generator: random.Random) -> _Prefix:
    words, wanted = _beginning(titles, generator)
    return _Prefix(" ".join(words), wanted)


def _beginning(titles: Sequence[str], generator: random.Random) -> tuple[list[str], frozenset[str]]:
    """Return the first words of a title, the last one cut, and the words that they have or begin."""
    while True:
        words = generator.choice(titles).split()
        words = words[: generator.randint(1, min(_MAX_WORDS, len(words)))]
        wanted = frozenset(title_words(" ".join(words)))
        last = words[-1]
        words[-1] = last[: generator.randint(min(_MIN_LETTERS, len(last)), len(last))]
        if title_words(" ".join(words)):
            return words, wanted


def _with_typo(word: str, generator: random.Random) -> str:
    at, letter = generator.randrange(len(word) - 1), generator.choice(string.ascii_lowercase)
    return generator.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + letter + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )


def _titles(count: int, generator: random.Random) -> list[str]:
    folder = Path(os.environ.get("SHORTLIST_DATA", TOP / "data"))
    files = [folder / name / "items.parquet" for name in _SETS]
    if not files[0].exists():
        raise NotFound(f"no {files[0]}; set SHORTLIST_DATA to the folder of the data sets")
    real = [title for file in files if file.exists() for title in pl.read_parquet(file)["title"].to_list() if title]
    generator.shuffle(real)
    halves = [title.split() for title in pl.read_parquet(files[0])["title"].to_list()]
    while len(real) < count:
        first, second = generator.choice(halves), generator.choice(halves)
        real.append(" ".join([*first[: len(first) // 2], *second[len(second) // 2 :]]))
    return real[:count]


def _catalogue(titles: Sequence[str]) -> Catalogue:
    columns: dict[str, list[Any]] = {name: [None] * len(titles) for name in SCHEMA.names}
    columns |= {"item_id": [str(number) for number in range(len(titles))], "title": list(titles), "text": list(titles)}
    columns |= {"available": [True] * len(titles), "token_ids": [[1]] * len(titles)}
    return Catalogue(pa.table(columns, schema=SCHEMA))
