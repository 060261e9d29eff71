"""Fine-tuning the encoder on purchases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer
from transformers import BertModel

from common.arrays import Int64Array, TokenIds
from common.errors import InvalidRequest
from common.ragged import TokenRows
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.steps.catalogue import titles_by_item
from pipeline.build.steps.encoder import write_encoder, write_index
from pipeline.build.steps.first_stage import open_first_stage, write_retrieval_settings
from pipeline.build.steps.staged_release import write_array
from pipeline.data.dataset.training_requests import Windows
from pipeline.learning.examples.purchases import EventTexts, Purchase, PurchaseExample, draw_purchases
from pipeline.learning.trainers.purchase_encoder import train_on_purchases


def train_purchase_encoder(context: BuildContext, catalogue: Catalogue, windows: Windows) -> None:
    """Fine-tune the encoder on purchases before the tables end, and embed the catalogue again.

    Does nothing if the settings ask for no epochs.

    Raises:
        InvalidRequest: There are no purchases in those windows.
    """
    if not context.settings.encoder.epochs:
        return
    purchases = _purchases(context, catalogue, windows)
    # Hard negatives come from texts alone: event counts would include the weeks that are learned from.
    write_array(context.staging, layout.POPULARITY, np.zeros(len(catalogue), np.float32))
    write_retrieval_settings(context, {}, {"semantic": {}, "similar": {}})
    bert = _fit(context, catalogue, purchases)
    write_encoder(context, bert, f"{len(purchases):,} purchases before {windows.tables:%Y-%m-%d}")
    write_index(context, catalogue)
    context.staging.learned_until["encoder"] = windows.tables.isoformat()


def _purchases(context: BuildContext, catalogue: Catalogue, windows: Windows) -> Sequence[Purchase]:
    settings = context.settings
    with context.report.step("Sampling purchases for the encoder"):
        purchases = draw_purchases(
            context.dataset.events,
            titles_by_item(catalogue),
            until=windows.tables,
            window=windows.length,
            count=settings.training_requests,
            searches=settings.query_share,
            seed=settings.seed,
        )
    if not purchases:
        raise InvalidRequest(
            f"nobody took anything before {windows.tables:%Y-%m-%d} for the encoder to learn from; leave "
            "encoder_epochs at 0 or choose shorter windows"
        )
    return purchases


def _fit(context: BuildContext, catalogue: Catalogue, purchases: Sequence[Purchase]) -> BertModel:
    """Return the base model fine-tuned on purchases; the staged first stage mines the negatives."""
    settings, staging = context.settings, context.staging
    tokenizer = Tokenizer.from_file(str(staging.file(layout.ENCODER_TOKENIZER)))
    vector_of_item = np.load(staging.file(layout.VECTOR_OF_ITEM)).astype(np.int64)
    texts = _distinct_texts(catalogue, vector_of_item, tokenizer, settings.item_prefix)
    examples = _examples(context, purchases, vector_of_item, tokenizer)
    work = staging.checkpoints.with_name("encoder-checkpoints")
    with context.report.step(f"Fine-tuning the encoder on {len(examples):,} purchases") as step:
        return train_on_purchases(
            context.base_model.path,
            examples,
            texts,
            settings.encoder,
            work,
            lambda done, total, _: step.at(done, total),
        )


def _examples(
    context: BuildContext, purchases: Sequence[Purchase], vector_of_item: Int64Array, tokenizer: Tokenizer
) -> list[PurchaseExample]:
    queries = sorted({purchase.query for purchase in purchases if purchase.query})
    tokens = _tokens(tokenizer, [context.settings.query_prefix + query for query in queries])
    training = context.settings.encoder
    with (
        open_first_stage(context) as first_stage,
        context.report.step("Mining hard negatives", len(purchases)) as step,
    ):
        texts = EventTexts(vector_of_item, first_stage, dict(zip(queries, tokens, strict=True)))
        return texts.examples(
            purchases, mined=training.mined, mined_from=training.mined_from, seed=training.seed, step=step
        )


def _distinct_texts(catalogue: Catalogue, vector_of_item: Int64Array, tokenizer: Tokenizer, prefix: str) -> TokenRows:
    """Return the distinct texts in the encoder's tokens, in the order of their vectors."""
    _, first = np.unique(vector_of_item, return_index=True)
    return TokenRows.from_rows(_tokens(tokenizer, [prefix + catalogue.text(int(row)) for row in first]))


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenIds]:
    """Tokenise as the served encoder does."""
    return [np.array(encoding.ids, np.int32) for encoding in tokenizer.encode_batch_fast(list(texts))]
