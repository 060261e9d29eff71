"""The recipe `baskets`: windows of time, and what users buy in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from transformers import BertForSequenceClassification

from common.errors import InvalidRequest
from pipeline.build.completion.learned import Learned, record_learned_until
from pipeline.build.compression.compress import check_vocabulary, compress_cross_encoder
from pipeline.build.compression.gate import Gate
from pipeline.build.context import BuildContext
from pipeline.build.second_stage.purchase_fusion import JudgedCandidates, PurchaseFusion
from pipeline.build.second_stage.text_tiers import TextTiers, staged_tiers
from pipeline.build.steps.catalogue import (
    require_events,
    with_trimmed_vocabulary,
    write_catalogue,
)
from pipeline.build.steps.encoder import export_base_encoder, write_index
from pipeline.build.steps.first_stage import learn_first_stage_weights, open_first_stage, write_retrieval_settings
from pipeline.build.steps.judged_searches import JudgedSearches, draw_searches, judged_searches
from pipeline.build.steps.purchase_encoder import train_purchase_encoder
from pipeline.build.steps.tables import table_writer
from pipeline.data.dataset.training_requests import ShopRequest, UserSample, Windows, sample_users
from pipeline.learning.examples.labelled_candidates import LabelledCandidates, label_candidates
from pipeline.learning.examples.typed_searches import ItemWords

# Without learned weights the first stage is slow to rank well: these requests are enough to learn them.
_WEIGHT_REQUESTS: Final = 400
# Weights are learned from more candidates than are served.
_WEIGHT_CANDIDATES: Final = 3


def build_baskets(context: BuildContext) -> Learned:
    """Learn from purchases with times.

    Raises:
        InvalidRequest: There are no events, no room for the windows, or nobody to learn from.
        CompressionRefused: A smaller cross-encoder loses more than the settings allow.
    """
    require_events(context)
    settings, untrimmed_base = context.settings, context.base_model
    windows = Windows.of(context.dataset.events, settings.window_days)
    data = f"what users bought before {windows.valid:%Y-%m-%d}"
    items = context.dataset.items
    context = with_trimmed_vocabulary(context, items)
    catalogue = write_catalogue(context, items)
    export_base_encoder(context)
    write_index(context, catalogue)
    train_purchase_encoder(context, catalogue, windows)
    tables = table_writer(context, catalogue, windows.tables)
    tables.write_counts(context.dataset.events, windows.tables)
    write_retrieval_settings(context, {})
    users, searches = _draw_users(context, windows), judged_searches(context, catalogue)
    candidates = settings.candidates * _WEIGHT_CANDIDATES
    learn_first_stage_weights(context, [*users.train[:_WEIGHT_REQUESTS], *searches.train], candidates)
    train, valid, judged = _find_candidates(context, users, searches)
    learner = PurchaseFusion(context, catalogue, train, valid, judged)
    gate = Gate(context.staging, valid, settings.max_ndcg_loss, context.report)

    def shrink(model: BertForSequenceClassification) -> None:
        check_vocabulary(context, untrimmed_base, items, catalogue, model, gate)
        compress_cross_encoder(context, catalogue, model, train, gate)

    listed = [*judged.for_tiers, *train]
    fused = TextTiers(context, catalogue, listed, valid, data, learner.fit, shrink).choose()
    record_learned_until(context, windows.valid, "weights", *staged_tiers(context))
    record_learned_until(context, windows.test, "fusion")
    trained_on = f"{len(train)} requests before {windows.valid:%Y-%m-%d}, calibrated on {len(valid)} others"
    return Learned(catalogue, valid, learner.write(fused, trained_on), windows)


def _draw_users(context: BuildContext, windows: Windows) -> UserSample:
    settings = context.settings
    with context.report.step("Sampling users for training"):
        users = sample_users(
            context.dataset.events,
            windows,
            train=settings.training_requests,
            valid=settings.valid_users,
            test=settings.test_users,
            seed=settings.seed,
        )
        if not users.train or not users.valid or not users.test:
            raise InvalidRequest("the events leave nobody to learn from; choose other windows")
        words = ItemWords.of(context.dataset.items)
        return dataclasses.replace(
            users,
            train=draw_searches(settings, users.train, words, settings.seed),
            valid=draw_searches(settings, users.valid, words, settings.seed + 1),
        )


def _find_candidates(
    context: BuildContext, users: UserSample, searches: JudgedSearches
) -> tuple[list[LabelledCandidates], list[LabelledCandidates], JudgedCandidates]:
    """Return training and validation requests, and judged searches, with the first stage's candidates."""
    parts: list[Sequence[ShopRequest]] = [users.train, users.valid, searches.train, searches.checked]
    total = sum(map(len, parts))
    with open_first_stage(context) as first_stage, context.report.step("Retrieving candidates", total) as step:
        train, valid, judged, checked = (
            label_candidates(first_stage, part, context.settings.candidates, step) for part in parts
        )
    return train, valid, JudgedCandidates(judged, checked)
