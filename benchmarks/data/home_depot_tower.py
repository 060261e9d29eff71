"""The late-interaction tower of the recipe `searches`, learnt from all training judgements."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.data.home_depot import HomeDepot
from benchmarks.data.home_depot_model import TrainedModel, search_models
from common.release import layout
from common.release.manifest import ModelCard
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.staging import Staging
from pipeline.release.export import int8, late_interaction
from pipeline.release.export.cached_export import written_by
from pipeline.release.export.late_interaction import export_late_tower, write_late_interaction
from pipeline.release.models import bert_graph, late_interaction_tower
from services.ranking.late_interaction.vector_codec import Bits


@dataclass(frozen=True)
class TrainedTower:
    """A tower on disk.

    Attributes:
        onnx: The exported graph.
        parity: Largest difference of its outputs to torch's, at export.
    """

    onnx: Path
    parity: float


def trained_tower(data: HomeDepot, console: Console) -> TrainedTower:
    """Return the tower, trained now (half an hour, its teaching included) where it is not in the cache."""
    models, queries = search_models(data, console)
    folder = models.tower(queries)
    onnx = folder / f"tower-{written_by(bert_graph, late_interaction_tower, late_interaction, int8)}.onnx"
    done = onnx.with_suffix(".json")
    if not done.exists():
        done.write_text(json.dumps(export_late_tower(models.loaded_tower(folder), onnx)))
    return TrainedTower(onnx, json.loads(done.read_text()))


def add_late_interaction(
    model: TrainedModel, tower: TrainedTower, bits: Bits, console: Console
) -> Callable[[Staging], None]:
    """Return what puts the tier into a release; every title is encoded now (minutes) where that is not in the cache."""
    kept = _files(tower, bits)

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
    return float((_files(tower, bits) / "encode_s").read_text())


def _files(tower: TrainedTower, bits: Bits) -> Path:
    """Where the tier's part of a release is kept."""
    return tower.onnx.with_name(f"{tower.onnx.stem}-files-{bits}")
