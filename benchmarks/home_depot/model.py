"""MiniLM-L6 as a cross-encoder, fine-tuned on the training judgements; kept by the hash of what it is made from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from transformers import BertForSequenceClassification

from benchmarks.home_depot.data import CONTEXT_TOKENS, ITEM_TOKENS, HomeDepot, Judged, PairMaker
from pipeline.base_model import BaseModel, resolve_base_model
from pipeline.export import export_cross_encoder
from pipeline.progress import ProgressReport
from pipeline.train.cross_encoder import CrossEncoderTraining, train_cross_encoder
from pipeline.train.ranking_lists import RankingExample

CACHE: Final = Path(".cache/benchmarks")
_TRAINING: Final = CrossEncoderTraining(layers=6, learning_rate=1e-4, requests_per_step=8)
_QUERIES: Final = 1_600
_FORMAT: Final = 1


@dataclass(frozen=True)
class TrainedModel:
    """A cross-encoder on disk.

    Attributes:
        folder: `torch/` in Hugging Face's form with the tokenizer, `model.onnx` in float32.
        base: What it was trained from.
        parity: Largest difference of the ONNX graph's logits to torch's, at export.
    """

    folder: Path
    base: BaseModel
    parity: float

    @property
    def torch(self) -> Path:
        """The folder in Hugging Face's form."""
        return self.folder / "torch"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.torch / "tokenizer.json"

    @property
    def onnx(self) -> Path:
        """The exported graph in float32."""
        return self.folder / "model.onnx"


def trained_model(data: HomeDepot, console: Console) -> TrainedModel:
    """Return the fine-tuned cross-encoder, trained now (minutes) where it is not in the cache."""
    base = resolve_base_model("all-MiniLM-L6-v2")
    folder = CACHE / f"home-depot-{_key(data, base)}"
    done = folder / "done.json"
    if not done.exists():
        done.write_text(json.dumps({"parity": _train(data, base, folder, console)}))
    return TrainedModel(folder, base, json.loads(done.read_text())["parity"])


def training_queries(data: HomeDepot) -> list[Judged]:
    """Return the queries that the cross-encoder is trained on: those with something relevant, in a drawn order."""
    judged = [one for one in data.judged("train") if one.relevance.any() and len(one.item_ids) > 1]
    order = np.random.default_rng(_TRAINING.seed).permutation(len(judged))[:_QUERIES]
    return [judged[place] for place in order]


def _train(data: HomeDepot, base: BaseModel, folder: Path, console: Console) -> float:
    maker = PairMaker(data, base.path / "tokenizer.json")
    examples = [RankingExample(maker.pairs(one.query, one.item_ids), one.relevance) for one in training_queries(data)]
    report = ProgressReport(console)
    folder.mkdir(parents=True, exist_ok=True)
    with report.step("Fine-tuning the cross-encoder on Home Depot's judgements") as step:
        work = folder / "checkpoints"
        model = train_cross_encoder(base.path, examples, _TRAINING, work, lambda done, total, _: step.at(done, total))
    shutil.rmtree(work, ignore_errors=True)
    return _save(model, base, folder)


def _save(model: BertForSequenceClassification, base: BaseModel, folder: Path) -> float:
    torch_folder = folder / "torch"
    model.save_pretrained(torch_folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (base.path / name).exists():
            shutil.copy(base.path / name, torch_folder / name)
    return export_cross_encoder(model, folder / "model.onnx")


def _key(data: HomeDepot, base: BaseModel) -> str:
    parts = [
        *(_FORMAT, base.sha256, data.fingerprint(), dataclasses.asdict(_TRAINING)),
        *(_QUERIES, CONTEXT_TOKENS, ITEM_TOKENS),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
