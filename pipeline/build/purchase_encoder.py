"""The encoder of a build, fine-tuned on purchases."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np
from tokenizers import Tokenizer
from transformers import BertModel

from common.ragged import TokenRows
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.learning.examples.purchases import EventExample, EventTexts, Purchase
from pipeline.learning.training.purchase_encoder import train_on_purchases
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.staging import Staging
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.models.base_model import BaseModel
from services.retrieval.candidates.first_stage import FirstStage


def fit_purchase_encoder(
    purchases: Sequence[Purchase],
    catalogue: Catalogue,
    base: BaseModel,
    settings: BuildSettings,
    staging: Staging,
    report: ProgressReport,
) -> BertModel:
    """Return the base model fine-tuned on purchases; negatives are mined by the staged first stage.

    Args:
        purchases: What to learn from.
        catalogue: The items.
        base: The base model.
        settings: How the release is built.
        staging: The release so far, whose first stage draws from texts alone.
        report: Told of each step.
    """
    tokenizer = Tokenizer.from_file(str(staging.file(layout.ENCODER_TOKENIZER)))
    of_item = np.load(staging.file(layout.VECTOR_OF_ITEM)).astype(np.int64)
    table = _texts(catalogue, of_item, tokenizer, settings.item_prefix)
    examples = _examples(purchases, of_item, tokenizer, settings, staging, report)
    work = staging.checkpoints.with_name("encoder-checkpoints")
    with report.step(f"Fine-tuning the encoder on {len(examples):,} purchases") as step:
        return train_on_purchases(
            base.path, examples, table, settings.encoder, work, lambda done, total, _: step.at(done, total)
        )


def _examples(
    purchases: Sequence[Purchase],
    of_item: np.ndarray,
    tokenizer: Tokenizer,
    settings: BuildSettings,
    staging: Staging,
    report: ProgressReport,
) -> list[EventExample]:
    searched = sorted({purchase.query for purchase in purchases if purchase.query})
    rows = _tokens(tokenizer, [settings.query_prefix + query for query in searched])
    queries = dict(zip(searched, rows, strict=True))
    chosen = settings.encoder
    with (
        closing(FirstStage.load(staging.release())) as first_stage,
        report.step("Finding what users never took", len(purchases)) as step,
    ):
        texts = EventTexts(of_item, first_stage, queries)
        return texts.examples(purchases, mined=chosen.mined, mined_from=chosen.mined_from, seed=chosen.seed, step=step)


def _texts(catalogue: Catalogue, of_item: np.ndarray, tokenizer: Tokenizer, prefix: str) -> TokenRows:
    """Return the distinct texts in the encoder's tokens, in the order of their vectors."""
    _, first = np.unique(of_item, return_index=True)
    return TokenRows.of(_tokens(tokenizer, [prefix + catalogue.text(int(row)) for row in first]))


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Tokenise as the served encoder does."""
    return [np.array(encoding.ids, np.int32) for encoding in tokenizer.encode_batch_fast(list(texts))]
