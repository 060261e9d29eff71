"""What steps write into the staged release: arrays, settings, and the models' entries in the manifest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from common.release import layout
from common.release.manifest import ModelCard
from pipeline.build.context import BuildContext
from pipeline.release.artifacts.staging import Staging


def write_array(staging: Staging, name: str, values: npt.NDArray[np.floating[Any]]) -> None:
    """Write an array, in place of the one of that name."""
    file = staging.file(name)
    file.unlink(missing_ok=True)  # an engine may still map the old file: overwriting it would change what it reads
    np.save(file, values)


def write_fusion_settings(context: BuildContext) -> None:
    """Write the fusion's features and half-lives."""
    context.staging.write_json(
        layout.FUSION_SETTINGS,
        {
            "features": list(context.features),
            "half_life_long": context.recipe.half_life_long,
            "half_life_short": context.recipe.half_life_short,
            "events": context.event_weights.model_dump(),
        },
    )


def write_ranker_settings(
    context: BuildContext, plan: Mapping[str, Mapping[str, int]], first_stage_order: Collection[str] = ()
) -> None:
    """Write how the cross-encoder reads pairs, and how many candidates each tier takes.

    Args:
        context: The build.
        plan: Depths by tier for each occasion; see `pipeline.learning.fusion.tier_plan`.
        first_stage_order: The occasions that keep the first stage's order.
    """
    settings = context.settings
    context.staging.write_json(
        layout.RANKER_SETTINGS,
        {
            "context_items": settings.context_items,
            "context_tokens": settings.context_tokens,
            "item_tokens": settings.item_tokens,
            "depth": settings.cross_encoder_depth if "cross_encoder" in context.staging.models else 0,
            "plan": plan,
            "first_stage_order": sorted(first_stage_order),
        },
    )


def record_model(context: BuildContext, name: str, file: str, trained_on: str, parity_error: float) -> None:
    """Enter a model that grew from the base model into the manifest.

    Args:
        context: The build.
        name: The model's name.
        file: Its file in the release.
        trained_on: What it was trained on, in words.
        parity_error: The largest difference between the exported and the trained model.
    """
    base = context.base_model
    context.staging.models[name] = ModelCard(
        file=file,
        precision="fp32",
        base_model=base.name,
        base_model_origin=f"{base.origin}, sha256 {base.sha256}",
        trained_on=trained_on,
        parity_max_abs_error=parity_error,
    )


def record_fusion(context: BuildContext, trained_on: str, parity_error: float) -> None:
    """Enter the fusion into the manifest; see `record_model`."""
    context.staging.models["fusion"] = ModelCard(
        file=layout.FUSION,
        precision="fp32",
        base_model="LightGBM",
        base_model_origin="fitted here",
        trained_on=trained_on,
        parity_max_abs_error=parity_error,
    )
