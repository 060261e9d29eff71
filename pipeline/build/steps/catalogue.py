"""The catalogue: which items are in it, and its files."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import polars as pl

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.release.artifacts.catalogue import build_catalogue, item_texts
from pipeline.release.artifacts.title_bm25 import write_title_words
from pipeline.release.models.tokenizer import plain_tokenizer
from pipeline.release.models.vocabulary_trimming import TOKENIZER, trimmed_base

_ENCODER_TOKENS: Final = 128


def require_events(context: BuildContext) -> None:
    """Raise InvalidRequest if the dataset has no events, before any time is spent."""
    if context.dataset.events.is_empty():
        raise InvalidRequest(
            f"there are no events, and the recipe {context.recipe.name} learns from what users took; "
            "give events, with one row at least, or choose the recipe catalogue, which needs none"
        )


def with_trimmed_vocabulary(context: BuildContext, items: pl.DataFrame) -> BuildContext:
    """Return the build with a base model that has only the items' tokens, if the settings ask for it."""
    settings = context.settings
    if not settings.trim_vocabulary:
        return context
    with context.report.step("Trimming the vocabulary"):
        texts = [settings.query_prefix, settings.item_prefix, *sorted(set(item_texts(items)))]
        base_model = trimmed_base(context.base_model, texts, context.staging.path.with_name("base-model"))
        return replace(context, base_model=base_model)


def write_catalogue(context: BuildContext, items: pl.DataFrame) -> Catalogue:
    """Write the catalogue, the models' tokenizers, and the words of titles, by which queries' spelling is repaired."""
    staging, settings = context.staging, context.settings
    with context.report.step("Writing the catalogue"):
        tokenizer = plain_tokenizer(str(context.base_model.path / TOKENIZER))
        tokenizer.save(str(staging.file(layout.CROSS_ENCODER_TOKENIZER)))
        catalogue = build_catalogue(items, tokenizer, settings.item_tokens)
        catalogue.save(staging.file(layout.CATALOGUE))
        write_title_words(catalogue, staging.path)
        tokenizer.enable_truncation(_ENCODER_TOKENS)
        tokenizer.save(str(staging.file(layout.ENCODER_TOKENIZER)))
        return catalogue


def titles_by_item(catalogue: Catalogue) -> dict[str, str]:
    """Return the items' titles by item id."""
    return dict(zip(catalogue.item_ids, catalogue.table["title"].to_pylist(), strict=True))
