"""The encoder in ONNX, and the vector index that it fills."""

from __future__ import annotations

from typing import Final

from transformers import BertModel

from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.steps.staged_release import record_model
from pipeline.release.artifacts.vector_index import build_vector_index
from pipeline.release.export.bert import export_encoder
from pipeline.release.models.model_folder import load_model
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.encoding.text_encoder import OnnxTextEncoder

# What the manifest says of an encoder that is the base model itself.
NOT_TRAINED: Final = "nothing: the base model as it is"


def export_base_encoder(context: BuildContext) -> None:
    """Export the base model as the release's encoder."""
    write_encoder(context, load_model(BertModel, context.base_model.path), NOT_TRAINED)


def write_encoder(context: BuildContext, bert: BertModel, trained_on: str) -> None:
    """Export an encoder into the release.

    Args:
        context: The build.
        bert: The encoder.
        trained_on: What it was trained on, in words.
    """
    with context.report.step("Exporting the encoder to ONNX"):
        parity_error = export_encoder(bert, context.staging.file(layout.ENCODER))
        record_model(context, "encoder", layout.ENCODER, trained_on, parity_error)


def index_options(context: BuildContext) -> IndexOptions:
    """Return how the index is built."""
    settings = context.settings
    return IndexOptions(
        m=settings.hnsw_m,
        ef_construction=settings.ef_construction,
        threads=1,
        seed=settings.seed,
        kind=settings.index,
    )


def write_index(context: BuildContext, catalogue: Catalogue) -> None:
    """Embed the catalogue's texts with the staged encoder, and write the vector index."""
    settings, options = context.settings, index_options(context)
    encoder = OnnxTextEncoder.load(context.staging.release(), SessionOptions())
    with context.report.step("Embedding the catalogue's texts") as step:
        build_vector_index(
            catalogue, encoder, settings.item_prefix, context.staging.path, options, step, context.report.warn
        )
