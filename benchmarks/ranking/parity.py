"""Do served scores match the trained model? ONNX against torch, alone against in a batch, int8 against fp32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import BertForSequenceClassification

from benchmarks.data.home_depot import HomeDepot
from benchmarks.data.home_depot_model import TrainedModel, trained_model
from benchmarks.harness.record import Result, at_most
from benchmarks.ranking.precisions import ndcg_loss_share, precisions, score_variants
from pipeline.build.compression.gate import MAX_BATCH_DEPENDENCE
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.progress import ProgressReport
from pipeline.release.export.bert import PARITY_TOLERANCE
from pipeline.release.models.model_folder import load_model
from services.ranking.pairs.pair_tokens import ModelInputs

_TORCH_QUERIES: Final = 100
_MAX_NDCG_LOSS: Final = 0.01
_MAX_SPEARMAN_LOSS: Final = 0.01


def run(quick: bool, console: Console) -> Result:
    """Score Home Depot's test part; quick takes 150 of its queries."""
    data, report = HomeDepot.find(), ProgressReport(console)
    model = trained_model(data, console)
    scored = score_variants(data, precisions(model), report, quick=quick)
    full, small = scored["fp32"], scored["int8"]
    with report.step("Scoring a part with torch"):
        difference = _torch_difference(model, full.examples[:_TORCH_QUERIES], full.logits)
    ndcg_loss, spearman_loss = ndcg_loss_share(full, small), full.spearman - small.spearman
    thresholds = [
        at_most("fp32: largest difference of logits, ONNX and torch", PARITY_TOLERANCE, difference),
        *(
            at_most(
                f"{name}: largest difference of probabilities, alone and in a batch",
                MAX_BATCH_DEPENDENCE,
                found.batch_dependence,
            )
            for name, found in scored.items()
        ),
        at_most("int8: share of NDCG@10 lost", _MAX_NDCG_LOSS, ndcg_loss.mean),
        at_most("int8: Spearman lost", _MAX_SPEARMAN_LOSS, spearman_loss),
    ]
    figures: dict[str, Any] = {
        "torch difference": difference,
        "int8 ndcg@10 loss, share": ndcg_loss._asdict(),
        "int8 spearman loss": spearman_loss,
    }
    table = Table("precision", "NDCG@10", "Spearman", "alone and in a batch", title="Home Depot, test part")
    for name, found in scored.items():
        figures[name] = {
            "ndcg@10": float(found.ndcg.mean()),
            "spearman": found.spearman,
            "batch dependence": found.batch_dependence,
            "pairs": sum(map(len, found.logits)),
        }
        table.add_row(name, f"{found.ndcg.mean():.4f}", f"{found.spearman:.4f}", f"{found.batch_dependence:.1e}")
    return Result(figures, thresholds, [table])


def _torch_difference(
    model: TrainedModel,
    examples: Sequence[RankingExample],
    logits: Sequence[np.ndarray[tuple[int], np.dtype[np.float32]]],
) -> float:
    """Return the largest difference between the logits of the served graph and of the torch model."""
    reference = load_model(BertForSequenceClassification, model.torch).eval()
    largest = 0.0
    for example, served in zip(examples, logits, strict=False):
        inputs = ModelInputs.from_pairs(example.pairs)
        with torch.inference_mode():
            expected = reference(**{name: torch.from_numpy(array) for name, array in vars(inputs).items()}).logits
        largest = max(largest, float(np.abs(expected.squeeze(-1).numpy() - served).max()))
    return largest
