"""Trained models as the serving engines load them: exported once for each version of the exporting code."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, BertModel

from common.onnx_session import OnnxModel, SessionOptions
from pipeline.release.export import bert
from pipeline.release.export.bert import export_cross_encoder, export_encoder
from pipeline.release.models import bert_graph
from pipeline.release.models.model_folder import load_model
from services.ranking.cross_encoder.model import CrossEncoder
from services.retrieval.encoding.text_encoder import OnnxTextEncoder


def written_by(*modules: ModuleType) -> str:
    """Return an 8-character hash of these modules' source, which names the graphs that they write.

    A cached folder is named by what its weights learned from; that does not change when the exporting code does.
    """
    return hashlib.sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()[:8]


_GRAPH: Final = written_by(bert_graph, bert)


def exported_cross_encoder(model: Path) -> Path:
    """Return the ONNX file of a cross-encoder in Hugging Face's form."""
    return _exported(model, lambda to: export_cross_encoder(load_model(BertForSequenceClassification, model), to))


def loaded_cross_encoder(model: Path) -> CrossEncoder:
    """Load a cross-encoder in Hugging Face's form."""
    return CrossEncoder(OnnxModel(exported_cross_encoder(model), SessionOptions()))


def loaded_encoder(model: Path) -> OnnxTextEncoder:
    """Load an encoder in Hugging Face's form."""
    file = _exported(model, lambda to: export_encoder(load_model(BertModel, model), to))
    return OnnxTextEncoder(OnnxModel(file, SessionOptions()), Tokenizer.from_file(str(model / "tokenizer.json")))


def _exported(model: Path, write: Callable[[Path], float]) -> Path:
    file = model / f"model-{_GRAPH}.onnx"
    if not file.exists():
        part = file.with_suffix(".part")
        write(part)
        part.replace(file)
    return file
