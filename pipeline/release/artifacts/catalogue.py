"""From a dataset's items to a release's catalogue."""

from __future__ import annotations

from typing import Final

import polars as pl
import pyarrow as pa
from tokenizers import Tokenizer

from common.release.catalogue import SCHEMA, Catalogue
from common.text import item_text

_OPTIONAL_TEXT: Final = ("brand", "category", "description")


def build_catalogue(items: pl.DataFrame, tokenizer: Tokenizer, item_tokens: int) -> Catalogue:
    """Build the catalogue of a release, ordered by item id.

    Args:
        items: The dataset's items; further columns become further attributes.
        tokenizer: The cross-encoder's, without padding and truncation.
        item_tokens: How many tokens the cross-encoder reads of an item at most.
    """
    items = _with_all_columns(items).sort("item_id")
    texts = item_texts(items)
    distinct = sorted(set(texts))
    encodings = tokenizer.encode_batch_fast(distinct, add_special_tokens=False)
    tokens_of = {text: encoding.ids[:item_tokens] for text, encoding in zip(distinct, encodings, strict=True)}
    table = items.to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.append_column("text", pa.array(texts, pa.string()))
    tokens = pa.array([tokens_of[text] for text in texts], pa.list_(pa.int32()))
    return Catalogue(_cast(table.append_column("token_ids", tokens)))


def item_texts(items: pl.DataFrame) -> list[str]:
    """Return what the models read of a dataset's items, in their order."""
    columns = _with_all_columns(items).select("title", *_OPTIONAL_TEXT)
    return [item_text(title, *(value or "" for value in rest)) for title, *rest in columns.iter_rows()]


def _with_all_columns(items: pl.DataFrame) -> pl.DataFrame:
    """Add the optional columns that the dataset does not have, empty; without word of it, an item is available."""
    missing = [
        pl.lit(True if field.name == "available" else None).alias(field.name)
        for field in SCHEMA
        if field.name not in items.columns and field.name not in {"text", "token_ids"}
    ]
    return items.with_columns(*missing).with_columns(pl.col("available").fill_null(value=True))


def _cast(table: pa.Table) -> pa.Table:
    """Order the columns by the schema, further attributes behind, with its types and large strings made plain."""
    further = [name for name in table.column_names if name not in SCHEMA.names]
    fields = [*SCHEMA, *(pa.field(name, _plain(table.schema.field(name).type)) for name in further)]
    return table.select([field.name for field in fields]).cast(pa.schema(fields))


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) else kind
