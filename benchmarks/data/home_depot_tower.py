"""The late-interaction tower of the recipe `searches`, trained on all training judgements."""

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
        parity: Largest difference between its outputs and torch's at export.
    """

    onnx: Path
    parity: float


def trained_tower(data: HomeDepot, console: Console) -> TrainedTower:
    """Return the tower; it is trained (half an hour, its teacher included) unless cached."""
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
    """Return a function that adds the tier to a release; titles are encoded (minutes) unless cached."""
    cached = _files(tower, bits)

    def add(staging: Staging) -> None:
        target = staging.file(layout.LATE_TOWER).parent
        if not cached.exists():
            shutil.copy(tower.onnx, staging.file(layout.LATE_TOWER))
            title, report = "Encoding the titles for late interaction", ProgressReport(console)
            with report.step(title) as step:
                write_late_interaction(staging, bits, step)
            (target / "encoding_s").write_text(str(report.seconds[title]))
            shutil.copytree(target, cached.with_suffix(".part"))
            cached.with_suffix(".part").rename(cached)
        shutil.copytree(cached, target, dirs_exist_ok=True)
        (target / "encoding_s").unlink()
        staging.models["late_interaction"] = ModelCard(
            file=layout.LATE_TOWER,
            precision="fp32",
            base_model=model.base.name,
            base_model_origin=model.base.origin,
            trained_on="Home Depot's training judgements",
            parity_max_abs_error=tower.parity,
        )

    return add


def encoding_s(tower: TrainedTower, bits: Bits) -> float:
    """Return the seconds that encoding every title took."""
    return float((_files(tower, bits) / "encoding_s").read_text())


def _files(tower: TrainedTower, bits: Bits) -> Path:
    """Return the folder of the cached files of the tier."""
    return tower.onnx.with_name(f"{tower.onnx.stem}-files-{bits}")
