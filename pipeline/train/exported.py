"""Trained models as the serving engines load them: exported beside their weights, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, BertModel

from common.onnx_session import OnnxModel, SessionOptions
from pipeline.export import export_cross_encoder, export_encoder
from services.ranking.cross_encoder import CrossEncoder
from services.retrieval.encoder import Encoder


def exported_cross_encoder(model: Path) -> Path:
    """Return the ONNX file of a cross-encoder in Hugging Face's form."""
    return _exported(model, lambda to: export_cross_encoder(BertForSequenceClassification.from_pretrained(model), to))


def loaded_cross_encoder(model: Path) -> CrossEncoder:
    """Load a cross-encoder in Hugging Face's form."""
    return CrossEncoder(OnnxModel(exported_cross_encoder(model), SessionOptions()))


def loaded_encoder(model: Path) -> Encoder:
    """Load an encoder in Hugging Face's form."""
    file = _exported(model, lambda to: export_encoder(BertModel.from_pretrained(model), to))
    return Encoder(OnnxModel(file, SessionOptions()), Tokenizer.from_file(str(model / "tokenizer.json")))


def _exported(model: Path, export: Callable[[Path], float]) -> Path:
    file = model / "model.onnx"
    if not file.exists():
        part = file.with_suffix(".part")
        export(part)
        part.replace(file)
    return file
