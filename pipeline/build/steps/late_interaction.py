"""The late-interaction tier: training its tower, and encoding every item."""

from __future__ import annotations

from collections.abc import Sequence

from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.steps.cross_encoder import without_fusion_requests
from pipeline.build.steps.staged_release import record_model
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.late_interaction import distilled, late_lists
from pipeline.learning.trainers.late_interaction import train_late_interaction
from pipeline.release.export.late_interaction import export_late_tower, write_late_interaction
from pipeline.release.models.late_interaction_tower import LateTowerGraph
from services.ranking.cross_encoder.model import CrossEncoder, has_cross_encoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer


def fit_late_interaction(
    context: BuildContext, catalogue: Catalogue, train: Sequence[LabelledCandidates], data: str
) -> None:
    """Train the late-interaction tower and encode every item, if the settings ask for the tier.

    Args:
        context: The build.
        catalogue: The items.
        train: Requests to learn from.
        data: What the requests are, in words.
    """
    settings, staging = context.settings, context.staging
    if not settings.late_bits:
        return
    texts = PairTokenizer.load(staging.release(), catalogue)
    with context.report.step("Scoring lists with the cross-encoder for late interaction") as step:
        requests = without_fusion_requests(train, settings)
        lists = late_lists(requests, texts, lists=settings.late_lists, size=settings.list_size, seed=settings.seed)
        # The cross-encoder was trained on the first lists: there its logits repeat the labels.
        examples = distilled(lists, texts, _teacher(context), settings.cross_encoder_lists, step)
    with context.report.step("Training late interaction") as step:
        tower = train_late_interaction(
            context.base_model.path,
            examples,
            texts.template,
            settings.late,
            staging.checkpoints.with_name("late-checkpoints"),
            lambda done, total, _: step.at(done, total),
        )
    write_late_tier(context, tower, f"{len(examples)} lists of {data}")


def _teacher(context: BuildContext) -> CrossEncoder | None:
    """Return the staged cross-encoder; None if there is none, and the tower learns from labels alone."""
    release = context.staging.release()
    return CrossEncoder.load(release, SessionOptions()) if has_cross_encoder(release) else None


def write_late_tier(context: BuildContext, tower: LateTowerGraph, trained_on: str) -> None:
    """Export a tower and encode every item with it; does nothing if the settings ask for no such tier.

    Args:
        context: The build.
        tower: The trained tower.
        trained_on: What it was trained on, in words.
    """
    bits = context.settings.late_bits
    if not bits:
        return
    parity_error = export_late_tower(tower, context.staging.file(layout.LATE_TOWER))
    record_model(context, "late_interaction", layout.LATE_TOWER, trained_on, parity_error)
    with context.report.step("Encoding the items for late interaction") as step:
        write_late_interaction(context.staging, bits, step)
