"""A release of the text rankers alone: every title, no behaviour, the sigmoid of their scores as the probability."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import onnx
import polars as pl
from onnx import TensorProto, helper

from benchmarks.data.home_depot import CONTEXT_TOKENS, ITEM_TOKENS, HomeDepot, PairMaker
from benchmarks.data.home_depot_model import CACHE, TrainedModel, training_queries
from common.release import layout
from common.release.manifest import DataCard, ModelCard
from common.release.store import Release
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.artifacts.staging import Staging, staging_dir
from pipeline.release.config.build_settings import Precision
from pipeline.release.export import float16, int8, unshifted_softmax
from pipeline.release.export.cached_export import written_by
from pipeline.release.models.tokenizer import plain_tokenizer
from services.ranking.pairs.pair_tokens import TokenPairs

AnyPrecision = Precision | Literal["fp16"]
_CALIBRATION_QUERIES: Final = 120
_DEPTH: Final = 2_000


def model_file(data: HomeDepot, model: TrainedModel, precision: AnyPrecision) -> Path:
    """Return the cross-encoder in a precision; converted unless cached; int8 is calibrated on training queries."""
    if precision == "fp32":
        return model.onnx
    writer = written_by(float16) if precision == "fp16" else written_by(int8, unshifted_softmax)
    file = model.onnx.with_name(f"{model.onnx.stem}-{precision}-{writer}.onnx")
    if not file.exists():
        part = file.with_suffix(".part")
        if precision == "fp16":
            float16.to_float16(model.onnx, part)
        else:
            int8.quantise(model.onnx, part, _calibration(data, model))
        part.replace(file)
    return file


def judged_release(
    data: HomeDepot,
    model: TrainedModel,
    precision: Precision,
    item_tokens: int = ITEM_TOKENS,
    add: Callable[[Staging], None] = lambda _: None,
) -> Release:
    """Publish a release that ranks by the mean score of its text rankers.

    Args:
        data: The items.
        model: The cross-encoder.
        precision: Its precision in the release.
        item_tokens: Tokens of an item at most.
        add: Adds further files to the release.
    """
    store = CACHE / f"ranking-{precision}"
    card = DataCard(
        source="Home Depot", fingerprint=data.fingerprint(), items=data.items.height, events=0, licence="research use"
    )
    with staging_dir(store) as folder:
        staging = Staging(folder, card, "", {"item_tokens": item_tokens})
        shutil.copy(model_file(data, model, precision), staging.file(layout.CROSS_ENCODER))
        shutil.copy(model.tokenizer, staging.file(layout.CROSS_ENCODER_TOKENIZER))
        _write_catalogue(data.items, staging, item_tokens)
        _write_fusion(staging)
        staging.models = _cards(model, precision)
        add(staging)
        return staging.publish(store)


def _calibration(data: HomeDepot, model: TrainedModel) -> list[TokenPairs]:
    maker = PairMaker(data, model.tokenizer)
    return [maker.pairs(one.query, one.item_ids) for one in training_queries(data)[:_CALIBRATION_QUERIES]]


def _write_catalogue(items: pl.DataFrame, staging: Staging, item_tokens: int) -> None:
    tokenizer = plain_tokenizer(str(staging.file(layout.CROSS_ENCODER_TOKENIZER)))
    build_catalogue(items, tokenizer, item_tokens).save(staging.file(layout.CATALOGUE))
    settings = {"context_items": 8, "context_tokens": CONTEXT_TOKENS, "item_tokens": item_tokens, "depth": _DEPTH}
    staging.write_json(layout.RANKER_SETTINGS, settings)


def _write_fusion(staging: Staging) -> None:
    """Write the sigmoid of the mean of the present scores: both rankers learnt relevance by binary cross-entropy."""
    staging.write_json(layout.FUSION_SETTINGS, {"features": ["logit", "late_score"]})
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["present"]),
        helper.make_node("Where", ["missing", "zero", "one"], ["counted"]),
        helper.make_node("ReduceSum", ["present", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["counted", "axis"], ["count"], keepdims=0),
        helper.make_node("Max", ["count", "one"], ["parts"]),
        helper.make_node("Div", ["sum", "parts"], ["mean"]),
        helper.make_node("Sigmoid", ["mean"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fusion",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"])],
        [
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, staging.file(layout.FUSION))


def _cards(model: TrainedModel, precision: Precision) -> dict[str, ModelCard]:
    cross_encoder = ModelCard(
        file=layout.CROSS_ENCODER,
        precision=precision,
        base_model=model.base.name,
        base_model_origin=model.base.origin,
        trained_on="Home Depot's training judgements",
    )
    fusion = ModelCard(
        file=layout.FUSION,
        precision="fp32",
        base_model="sigmoid",
        base_model_origin="written here",
        trained_on="nothing",
    )
    return {"cross_encoder": cross_encoder, "fusion": fusion}
