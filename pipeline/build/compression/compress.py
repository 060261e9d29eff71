"""Replacing a cross-encoder by the smaller forms that the settings ask for."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from transformers import BertForSequenceClassification

from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.compression.gate import CompressionRefused, Gate, to_int8
from pipeline.build.context import BuildContext
from pipeline.build.steps.cross_encoder import learnable_requests
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.text_pairs import score_pairs, training_lists
from pipeline.learning.trainers.distillation import train_student
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.export.bert import export_cross_encoder
from pipeline.release.models.base_model import BaseModel
from pipeline.release.models.tokenizer import plain_tokenizer
from pipeline.release.models.vocabulary_trimming import TOKENIZER, untrimmed
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.release_settings import RankerSettings


def check_vocabulary(
    context: BuildContext,
    untrimmed_base: BaseModel,
    items: pl.DataFrame,
    catalogue: Catalogue,
    model: BertForSequenceClassification,
    gate: Gate,
) -> None:
    """Compare the trimmed vocabulary with the base model's own, if the settings ask for a trimmed one.

    Args:
        context: The build, whose base model is trimmed.
        untrimmed_base: The base model with its whole vocabulary.
        items: The catalogue's items.
        catalogue: The same, in the trimmed vocabulary's tokens.
        model: The trained cross-encoder.
        gate: Judges the trimmed form.

    Raises:
        CompressionRefused: The trimmed vocabulary loses too much.
    """
    if not context.settings.trim_vocabulary:
        return
    release, whole = context.staging.release(), context.staging.path.with_name("untrimmed.onnx")
    tokenizer = plain_tokenizer(str(untrimmed_base.path / TOKENIZER))
    untrimmed_catalogue = build_catalogue(items, tokenizer, context.settings.item_tokens)
    export_cross_encoder(untrimmed(model, untrimmed_base), whole)
    before = gate.form(whole, PairTokenizer(untrimmed_catalogue, tokenizer, RankerSettings.load(release)))
    after = gate.form(release.file(layout.CROSS_ENCODER), PairTokenizer.load(release, catalogue))
    gate.judge("trimmed vocabulary", before, after)
    whole.unlink()


def compress_cross_encoder(
    context: BuildContext,
    catalogue: Catalogue,
    model: BertForSequenceClassification,
    train: Sequence[LabelledCandidates],
    gate: Gate,
) -> None:
    """Replace the staged cross-encoder by a student, then by its int8 form, each if the settings ask for it.

    With precision `auto`, a refused int8 form is no error: float32 stays, and the build says so.

    Args:
        context: The build.
        catalogue: The items.
        model: The trained cross-encoder.
        train: Requests that it learned from.
        gate: Judges each form before the next is made.

    Raises:
        CompressionRefused: A form loses too much, or its scores depend on the batch.
    """
    if context.settings.student_layers:
        _train_student(context, catalogue, model, train, gate)
    if context.settings.precision != "fp32":
        try_int8(context, catalogue, train, gate)


def try_int8(context: BuildContext, catalogue: Catalogue, train: Sequence[LabelledCandidates], gate: Gate) -> bool:
    """Replace the staged cross-encoder by its int8 form; returns whether it is good enough.

    Raises:
        CompressionRefused: It is not, and the settings ask for int8 whatever it costs.
    """
    try:
        to_int8(context.staging, catalogue, train, gate)
    except CompressionRefused as refused:
        if context.settings.precision == "int8":
            raise
        context.report.console.print(f"The cross-encoder stays in fp32: {refused}", highlight=False)
        return False
    return True


def _train_student(
    context: BuildContext,
    catalogue: Catalogue,
    teacher: BertForSequenceClassification,
    train: Sequence[LabelledCandidates],
    gate: Gate,
) -> None:
    """Train a shallower cross-encoder on its teacher's lists and logits, and put it in its place."""
    settings, staging, release = context.settings, context.staging, context.staging.release()
    texts = PairTokenizer.load(release, catalogue)
    requests = learnable_requests(train, settings)
    lists = list(
        training_lists(requests, texts, lists=settings.cross_encoder_lists, size=settings.list_size, seed=settings.seed)
    )
    pairs = [one.pairs for one in lists]
    with context.report.step("Scoring lists with the cross-encoder for its student", sum(map(len, pairs))) as step:
        logits = score_pairs(CrossEncoder.load(release, SessionOptions()), pairs, step)
    training = settings.student_training(settings.student_layers)
    work = staging.checkpoints.with_name("student-checkpoints")
    with context.report.step(f"Training a student of {training.layers} layers") as step:
        student = train_student(teacher, lists, logits, training, work, lambda done, total, _: step.at(done, total))
    smaller = staging.path.with_name("student.onnx")
    parity_error = export_cross_encoder(student, smaller)
    gate.replace("student", texts, smaller)
    card = staging.models["cross_encoder"]
    trained_on = f"{card.trained_on}, and by a cross-encoder of {settings.cross_encoder.layers} layers on the same"
    changed = {"trained_on": trained_on, "parity_max_abs_error": parity_error}
    staging.models["cross_encoder"] = card.model_copy(update=changed)
