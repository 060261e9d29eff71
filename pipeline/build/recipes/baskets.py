"""The recipe `baskets`: windows of time, and what users buy in them."""

from __future__ import annotations

import dataclasses
from typing import Final

from transformers import BertForSequenceClassification

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from pipeline.build.completion.learned import Learned, record_learned_until
from pipeline.build.compression.compress import check_vocabulary, compress_cross_encoder
from pipeline.build.compression.gate import Gate
from pipeline.build.context import BuildContext
from pipeline.build.second_stage.purchase_fusion import PurchaseFusion
from pipeline.build.second_stage.text_tiers import TextTiers, staged_tiers
from pipeline.build.steps.catalogue import (
    require_events,
    titles_by_item,
    with_trimmed_vocabulary,
    write_catalogue,
)
from pipeline.build.steps.encoder import export_base_encoder, write_index
from pipeline.build.steps.first_stage import learn_first_stage_weights, open_first_stage, write_retrieval_settings
from pipeline.build.steps.purchase_encoder import train_purchase_encoder
from pipeline.build.steps.tables import table_writer
from pipeline.data.dataset.training_requests import UserSample, Windows, sample_users, simulate_cold_start
from pipeline.learning.examples.labelled_candidates import LabelledCandidates, label_candidates

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
    users = _draw_users(context, catalogue, windows)
    candidates = settings.candidates * _WEIGHT_CANDIDATES
    learn_first_stage_weights(context, users.train[:_WEIGHT_REQUESTS], candidates)
    train, valid = _find_candidates(context, users)
    learner = PurchaseFusion(context, catalogue, train, valid)
    gate = Gate(context.staging, valid, settings.max_ndcg_loss, context.report)

    def shrink(model: BertForSequenceClassification) -> None:
        check_vocabulary(context, untrimmed_base, items, catalogue, model, gate)
        compress_cross_encoder(context, catalogue, model, train, gate)

    fused = TextTiers(context, catalogue, train, valid, data, learner.fit, shrink).choose()
    record_learned_until(context, windows.valid, "weights", *staged_tiers(context))
    record_learned_until(context, windows.test, "fusion")
    trained_on = f"{len(train)} requests before {windows.valid:%Y-%m-%d}, calibrated on {len(valid)} others"
    return Learned(catalogue, valid, learner.write(fused, trained_on), windows)


def _draw_users(context: BuildContext, catalogue: Catalogue, windows: Windows) -> UserSample:
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
        titles = titles_by_item(catalogue)
        searches, newcomers, seed = settings.query_share, settings.newcomer_share, settings.seed
        return dataclasses.replace(
            users,
            train=simulate_cold_start(users.train, titles, searches=searches, newcomers=newcomers, seed=seed),
            valid=simulate_cold_start(users.valid, titles, searches=searches, newcomers=newcomers, seed=seed + 1),
        )


def _find_candidates(
    context: BuildContext, users: UserSample
) -> tuple[list[LabelledCandidates], list[LabelledCandidates]]:
    """Return training and validation requests with the first stage's candidates."""
    requests = [*users.train, *users.valid]
    with open_first_stage(context) as first_stage, context.report.step("Retrieving candidates", len(requests)) as step:
        drawn = label_candidates(first_stage, requests, context.settings.candidates, step)
    return drawn[: len(users.train)], drawn[len(users.train) :]
