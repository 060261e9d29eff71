"""Counts what a build leaves out: rows, items without behaviour, ends of long texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from rich.table import Table
from tokenizers import Tokenizer

from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.learning.item_graphs.builders import MAX_ITEMS

LEFT_OUT: Final = "left_out"  # of the manifest's metrics


@dataclass(frozen=True)
class LeftOut:
    """Something that a build left out.

    Attributes:
        what: What is left out, and of what.
        count: How many are left out.
        of: How many there are.
        why: The reason, or the setting that changes it.
    """

    what: str
    count: int
    of: int
    why: str


def record_left_out(context: BuildContext) -> None:
    """Count what the staged release leaves out, into the metrics."""
    catalogue = Catalogue.open(context.staging.file(layout.CATALOGUE))
    found = [*_rows(context), *_items(context, catalogue), *_texts(context, catalogue)]
    context.staging.metrics[LEFT_OUT] = [asdict(one) for one in found if one.count]


def left_out_table(metrics: dict[str, Any]) -> Table:
    """Return what a release's metrics say was left out, as a table."""
    table = Table("left out", "count", "of", "why", title="Left out of the release")
    for one in metrics.get(LEFT_OUT, []):
        table.add_row(one["what"], f"{one['count']:,}", f"{one['of']:,}", one["why"])
    if not table.row_count:
        table.add_row("nothing", "0", "", "")
    return table


def _rows(context: BuildContext) -> Iterator[LeftOut]:
    for name, table in context.dataset.report.tables.items():
        for reason, dropped in table.dropped.items():
            yield LeftOut(f"rows of {name}: {reason}", dropped.rows, table.rows_in, dropped.why)
    events = context.staging.data.events
    uncounted = events - context.dataset.events.height
    why = "impressions, refunds, kinds of no known meaning or with a weight of 0 (--event-weight)"
    yield LeftOut("events that do not count", uncounted, events, why)


def _items(context: BuildContext, catalogue: Catalogue) -> Iterator[LeftOut]:
    items, total = len(catalogue), context.staging.data.items
    yield LeftOut("items, from the catalogue", total - items, total, "a fault: every item should be in the catalogue")
    if not context.recipe.needs_events:
        return
    learned = int(np.count_nonzero(np.load(context.staging.file(layout.POPULARITY))))
    bound = max(1, context.settings.min_buyers)
    buyers = f"fewer than {bound} buyers (--min-buyers); found by text, filter, id and exploration"
    yield LeftOut("items, from graphs and popularity", items - learned, items, buyers)
    if context.recipe.graphs and items > MAX_ITEMS:
        why = f"tables of all pairs hold at most {MAX_ITEMS:,} items"
        yield LeftOut("items, from graphs of texts", items - learned, items, why)


def _texts(context: BuildContext, catalogue: Catalogue) -> Iterator[LeftOut]:
    """Yield the items whose text a model does not read to its end."""
    files = {
        "cross-encoder": (layout.CROSS_ENCODER_TOKENIZER, context.settings.item_tokens, " (--item-tokens)"),
        "encoder": (layout.ENCODER_TOKENIZER, None, ""),
    }
    texts, of_item = np.unique(np.array(catalogue.table["text"].to_pylist(), dtype=object), return_inverse=True)
    for model, (file, bound, option) in files.items():
        tokenizer = Tokenizer.from_file(str(context.staging.file(file)))
        limit = bound if bound is not None else (tokenizer.truncation or {}).get("max_length", 0)
        tokenizer.no_truncation()
        special = bound is None  # the encoder's bound counts [CLS] and [SEP]
        lengths = [len(one.ids) for one in tokenizer.encode_batch_fast(texts.tolist(), add_special_tokens=special)]
        longer = int((np.array(lengths)[of_item] > limit).sum())
        yield LeftOut(
            f"ends of items' texts, for the {model}", longer, len(catalogue), f"it reads {limit} tokens{option}"
        )
