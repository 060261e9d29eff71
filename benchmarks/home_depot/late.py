"""The late-interaction tower, trained on the judgements and distilled; kept by the hash of what it is made from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from benchmarks.home_depot.data import CONTEXT_TOKENS, ITEM_TOKENS, HomeDepot, Judged, PairMaker
from benchmarks.home_depot.model import CACHE, Floats, TrainedModel, held_out_teacher
from common import layout
from common.release import ModelCard, sha256_of
from pipeline.late_export import export_late_tower, write_late_interaction
from pipeline.progress import ProgressReport
from pipeline.staging import Staging
from pipeline.train.late_interaction import LateExample, LateTraining, train_late_interaction
from services.ranking.vector_codec import Bits

_TRAINING: Final = LateTraining(epochs=1)
_FORMAT: Final = 2


@dataclass(frozen=True)
class TrainedTower:
    """A tower on disk.

    Attributes:
        onnx: The exported graph.
        parity: Largest difference of its outputs to torch's, at export.
        train_s: What training took.
    """

    onnx: Path
    parity: float
    train_s: float


def trained_tower(data: HomeDepot, model: TrainedModel, console: Console) -> TrainedTower:
    """Return the tower, trained now (a quarter of an hour) where it is not in the cache."""
    folder = CACHE / f"home-depot-late-{_key(data, model)}"
    done = folder / "done.json"
    if not done.exists():
        done.write_text(json.dumps(_train(data, model, folder, console)))
    return TrainedTower(folder / "tower.onnx", **json.loads(done.read_text()))


def add_late_interaction(
    model: TrainedModel, tower: TrainedTower, bits: Bits, console: Console
) -> Callable[[Staging], None]:
    """Return what puts the tier into a release; every title is encoded now (minutes) where that is not in the cache."""
    kept = tower.onnx.with_name(f"files-{bits}")

    def add(staging: Staging) -> None:
        target = staging.file(layout.LATE_TOWER).parent
        if not kept.exists():
            shutil.copy(tower.onnx, staging.file(layout.LATE_TOWER))
            title, report = "Encoding the titles for late interaction", ProgressReport(console)
            with report.step(title) as step:
                write_late_interaction(staging, bits, step)
            (target / "encode_s").write_text(str(report.seconds[title]))
            shutil.copytree(target, kept.with_suffix(".part"))
            kept.with_suffix(".part").rename(kept)
        shutil.copytree(kept, target, dirs_exist_ok=True)
        (target / "encode_s").unlink()
        staging.models["late_interaction"] = ModelCard(
            file=layout.LATE_TOWER,
            precision="fp32",
            base_model=model.base.name,
            base_model_origin=model.base.origin,
            trained_on="Home Depot's training judgements",
            parity_max_abs_error=tower.parity,
        )

    return add


def encode_s(tower: TrainedTower, bits: Bits) -> float:
    """Return how long encoding every title took."""
    return float((tower.onnx.with_name(f"files-{bits}") / "encode_s").read_text())


def _train(data: HomeDepot, model: TrainedModel, folder: Path, console: Console) -> dict[str, float]:
    folder.mkdir(parents=True, exist_ok=True)
    report, maker, teacher = ProgressReport(console), PairMaker(data, model.tokenizer), held_out_teacher(data, console)
    examples = [
        LateExample(maker.context(one.query), maker.items(one.item_ids), one.relevance, _taught(one, teacher))
        for one in data.judged("train")
    ]
    title = "Training the late-interaction tower on Home Depot's judgements"
    with report.step(title) as step:
        work = folder / "checkpoints"
        graph = train_late_interaction(
            model.base.path, examples, maker.template, _TRAINING, work, lambda done, total, _: step.at(done, total)
        )
    shutil.rmtree(work, ignore_errors=True)
    return {"parity": export_late_tower(graph, folder / "tower.onnx"), "train_s": report.seconds[title]}


def _taught(one: Judged, teacher: Mapping[str, Floats]) -> Floats:
    """Return the teacher's logits of a query's items; NaN where it was not asked."""
    logits = teacher.get(one.query)
    asked = logits is not None and len(logits) == len(one.item_ids)
    return logits if logits is not None and asked else np.full(len(one.item_ids), np.nan, np.float32)


def _key(data: HomeDepot, model: TrainedModel) -> str:
    parts = [
        *(_FORMAT, sha256_of(model.onnx), data.fingerprint(), dataclasses.asdict(_TRAINING)),
        *(CONTEXT_TOKENS, ITEM_TOKENS),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
