"""The inputs of a build, which every step reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.release.event_weights import EQUAL_WEIGHTS, EventWeights
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.staging import Staging
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import Recipe
from pipeline.release.models.base_model import BaseModel


@dataclass(frozen=True)
class BuildContext:
    """One build: what it is made from, and where it writes.

    Steps write files into ``staging``, and return what later steps need.

    Attributes:
        dataset: The shop's data.
        base_model: The model that encoder and cross-encoder start from.
        settings: How to build.
        recipe: What the release is made of.
        staging: The release so far.
        report: Shows progress.
        examples_dir: Where to save the fusion's training examples; None to save none.
        models_dir: Where to cache trained models for other builds; None to remove them after the build.
        event_weights: How much an event of each kind counts.
    """

    dataset: Dataset
    base_model: BaseModel
    settings: BuildSettings
    recipe: Recipe
    staging: Staging
    report: ProgressReport
    examples_dir: Path | None = None
    models_dir: Path | None = None
    event_weights: EventWeights = EQUAL_WEIGHTS

    @property
    def features(self) -> tuple[str, ...]:
        """The fusion's features, in order, with those of the text tiers that are staged."""
        staged = self.staging.models
        return self.recipe.features_with(
            cross_encoder="cross_encoder" in staged, late_interaction="late_interaction" in staged
        )
