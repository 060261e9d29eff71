"""Fine-tuning the cross-encoder on the first stage's candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from transformers import BertForSequenceClassification

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.steps.staged_release import record_model
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.text_pairs import training_lists
from pipeline.learning.trainers.cross_encoder import learning_curve, train_cross_encoder
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.export.bert import export_cross_encoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer

_VALIDATION_LISTS: Final = 48


def fit_cross_encoder(
    context: BuildContext,
    catalogue: Catalogue,
    train: Sequence[LabelledCandidates],
    valid: Sequence[LabelledCandidates],
    data: str,
    checkpoints: str = "checkpoints",
) -> BertForSequenceClassification:
    """Fine-tune the cross-encoder, export it and return it.

    Args:
        context: The build.
        catalogue: The items.
        train: Requests to learn from.
        valid: Requests for the validation loss.
        data: What the requests are, in words.
        checkpoints: Name of the training's folder; another training must use another one.

    Raises:
        InvalidRequest: No request has a candidate that was bought.
    """
    settings, staging = context.settings, context.staging
    work = staging.checkpoints.with_name(checkpoints)
    texts = PairTokenizer.load(staging.release(), catalogue)
    learnable = learnable_requests(train, settings)
    train_lists, valid_lists = (
        training_lists(requests, texts, lists=lists, size=settings.list_size, seed=settings.seed)
        for requests, lists in ((learnable, settings.cross_encoder_lists), (valid, _VALIDATION_LISTS))
    )
    with context.report.step("Fine-tuning the cross-encoder") as step:
        model = train_cross_encoder(
            context.base_model.path,
            train_lists,
            settings.cross_encoder,
            work,
            lambda done, total, _: step.at(done, total),
            valid=valid_lists,
        )
        staging.metrics["training"] = {"cross_encoder": learning_curve(work).model_dump()}
    with context.report.step("Exporting the cross-encoder to ONNX"):
        parity_error = export_cross_encoder(model, staging.file(layout.CROSS_ENCODER))
        trained_on = f"{len(learnable)} lists of {data}"
        record_model(context, "cross_encoder", layout.CROSS_ENCODER, trained_on, parity_error)
    return model


def learnable_requests(train: Sequence[LabelledCandidates], settings: BuildSettings) -> list[LabelledCandidates]:
    """Return the requests that the cross-encoder learns from; raises InvalidRequest if there are none."""
    requests = without_fusion_requests(train, settings)
    learnable = [example for example in requests if example.labels.any()][: settings.cross_encoder_lists]
    if not learnable:
        raise InvalidRequest("the first stage found nothing that was bought: there is nothing to learn from")
    return learnable


def without_fusion_requests(
    train: Sequence[LabelledCandidates], settings: BuildSettings
) -> Sequence[LabelledCandidates]:
    """Leave out the last requests, from which the fusion learns.

    It must not learn from logits of requests that the cross-encoder was trained on.
    """
    return train[: max(1, len(train) - settings.logit_requests)]
