"""Text rankers that are trained once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from benchmarks.histories.models import INT8, HistoryModels
from benchmarks.histories.requests import TrainingSplit
from benchmarks.histories.scores import HistoryLateInteraction, cached_logits
from pipeline.progress import ProgressReport
from pipeline.release.export.cached_export import exported_cross_encoder


def test_models_are_trained_once_for_the_same_requests(
    models: HistoryModels, few: TrainingSplit, cross_encoder: Path, tower: Path, tiny_base_model: Path
):
    """The same requests give the same unchanged folders; other requests give others."""
    before = {file: file.stat().st_mtime_ns for folder in (cross_encoder, tower) for file in folder.iterdir()}
    assert models.cross_encoder(few.text_rankers, tiny_base_model) == cross_encoder
    assert models.tower(few.text_rankers, cross_encoder) == tower
    assert before == {file: file.stat().st_mtime_ns for file in before}
    assert models.cross_encoder(few.fusions, tiny_base_model) != cross_encoder
    assert (cross_encoder / INT8).stat().st_size < exported_cross_encoder(cross_encoder).stat().st_size


def test_logits_are_computed_once(
    models: HistoryModels, few: TrainingSplit, cross_encoder: Path, quiet: ProgressReport, tmp_path: Path
):
    """Every candidate has a logit, cached by its requests."""
    folder = shutil.copytree(cross_encoder, tmp_path / "cross-encoder")
    logits = cached_logits(folder, models.texts, few.fusions, quiet)
    assert logits.shape == few.fusions.rows.shape
    assert np.isfinite(logits).all()
    for file in folder.glob("logits-*.npy"):
        np.save(file, logits + 1)
    assert np.array_equal(cached_logits(folder, models.texts, few.fusions, quiet), logits + 1)


def test_late_interaction_with_more_bits_is_nearer_to_exact_scores(
    models: HistoryModels, few: TrainingSplit, tower: Path, quiet: ProgressReport
):
    """Eight bits differ less from exact scores than four, and neither much."""
    late = HistoryLateInteraction.read(tower, models, quiet)
    exact = late.exact_scores(few.fusions)
    off = {bits: float(np.abs(late.scores(few.fusions, bits) - exact).max()) for bits in (8, 4)}
    assert exact.shape == few.fusions.rows.shape
    assert off[8] < off[4] < 1
    assert off[8] < 0.1
    again = HistoryLateInteraction.read(tower, models, quiet)
    assert np.array_equal(again.exact_scores(few.fusions), exact)
