"""A tiny shop, a tiny BERT and a real release of them, for tests and small benchmarks.

What needs torch imports it when it is called: most tests do without, and it takes seconds to import.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from rich.console import Console
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport, TableReport
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.training_settings import CrossEncoderTraining

SHELVES: Final = {
    "dairy": ("milk", "cheese", "butter", "yogurt"),
    "bakery": ("bread", "bagel", "muffin", "roll"),
    "fruit": ("apple", "banana", "grape", "pear"),
    "household": ("soap", "towel", "candle", "sponge"),
}
KINDS: Final = ("red", "white", "fresh", "large", "small")
BRANDS: Final = ("acme", "acme", "orchard")  # two of three products share a text
USERS: Final = 60
DAYS: Final = 120


def tiny_items() -> pl.DataFrame:
    """Return 240 items: three products of each kind, two of which share a text."""
    rows = [
        {
            "item_id": f"{shelf}-{word}-{kind}-{number}",
            "title": f"{kind} {word}",
            "category": shelf,
            "brand": BRANDS[number],
            "price": None if number == 2 and kind == "red" else 1.0 + number + len(word),  # noqa: PLR2004 - the third
            "department": "food" if shelf != "household" else "home",
        }
        for shelf, words in SHELVES.items()
        for word in words
        for kind in KINDS
        for number in range(len(BRANDS))
    ]
    return pl.DataFrame(rows)


def tiny_events(items: pl.DataFrame) -> pl.DataFrame:
    """Return purchases of 60 users, each of whom buys from one category, some items repeatedly."""
    generator = np.random.default_rng(7)
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - shops' files carry no zone
    shelves = {name: items.filter(pl.col("category") == name)["item_id"].to_list() for name in SHELVES}
    rows = []
    for user in range(USERS):
        shelf = shelves[list(SHELVES)[user % len(SHELVES)]]
        favourites = generator.choice(shelf, 6, replace=False)
        for day in sorted(generator.choice(DAYS, 24, replace=False)):
            basket = f"b{user}-{day}"
            chosen = set(generator.choice(favourites, 2)) | {generator.choice(shelf)}
            rows += [
                {
                    "event_id": f"{basket}-{item_id}",
                    "user_id": f"u{user}",
                    "item_id": str(item_id),
                    "event": "purchase",
                    "timestamp": start + timedelta(days=int(day), minutes=user),
                    "session_id": basket,
                    "quantity": 1.0,
                }
                for item_id in sorted(chosen)
            ]
    return pl.DataFrame(rows)


def tiny_base_model(folder: Path) -> Path:
    """Write a BERT of two layers, 32 wide, with seeded random weights, and its tokenizer; returns ``folder``."""
    import torch  # noqa: PLC0415 - see above
    from transformers import BertConfig, BertModel  # noqa: PLC0415

    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def tiny_settings(base_model: Path) -> BuildSettings:
    """Return settings that build a release of the tiny shop in a few seconds."""
    return BuildSettings(
        base_model=str(base_model),
        window_days=10,
        min_buyers=1,
        candidates=30,
        tiers="always",
        precision="fp32",
        cross_encoder_depth=10,
        training_requests=60,
        logit_requests=20,
        valid_users=12,
        test_users=12,
        list_size=6,
        cross_encoder_lists=16,
        cross_encoder=CrossEncoderTraining(layers=2),
    )


def tiny_dataset(items: pl.DataFrame, events: pl.DataFrame) -> Dataset:
    """Return the tiny shop as a dataset."""
    tables = {
        name: TableReport(rows_in=frame.height, rows_out=frame.height)
        for name, frame in (("items", items), ("events", events))
    }
    return Dataset(items, events, None, DataReport(source="tiny shop", licence="none", tables=tables))


def build_tiny_release(folder: Path) -> Path:
    """Build a release of the tiny shop below ``folder``, and return its store."""
    from pipeline.build.builder import build  # noqa: PLC0415 - see above

    (folder / "base-model").mkdir(parents=True)
    settings = tiny_settings(tiny_base_model(folder / "base-model"))
    items = tiny_items()
    build(
        tiny_dataset(items, tiny_events(items)),
        folder / "tiny",
        settings,
        ProgressReport(Console(quiet=True)),
        force=True,
    )
    return folder / "tiny"


def _tokenizer() -> Tokenizer:
    words = [word for shelf, names in SHELVES.items() for word in (shelf, *names)]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [*letters, *(f"##{letter}" for letter in letters), *"0123456789.,;|-'"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *KINDS, *BRANDS, *pieces]
    ids = {word: number for number, word in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return tokenizer
