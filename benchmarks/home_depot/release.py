"""A release around the cross-encoder alone: every title, no behaviour, the logit's sigmoid as probability."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import onnx
import polars as pl
from onnx import TensorProto, helper

from benchmarks.home_depot.data import CONTEXT_TOKENS, ITEM_TOKENS, HomeDepot, PairMaker
from benchmarks.home_depot.model import CACHE, TrainedModel, training_queries
from common import layout
from common.release import DataCard, ModelCard, Release
from pipeline.build_settings import Precision
from pipeline.catalogue import build_catalogue, plain_tokenizer
from pipeline.compress import quantise
from pipeline.staging import Staging, aside

_CALIBRATION_QUERIES: Final = 120
_DEPTH: Final = 2_000


def model_file(data: HomeDepot, model: TrainedModel, precision: Precision) -> Path:
    """Return the cross-encoder in a precision; int8 is calibrated on training queries, once."""
    if precision == "fp32":
        return model.onnx
    file = model.folder / "model-int8.onnx"
    if not file.exists():
        maker = PairMaker(data, model.tokenizer)
        calibration = training_queries(data)[:_CALIBRATION_QUERIES]
        part = file.with_suffix(".part")
        quantise(model.onnx, part, [maker.pairs(one.query, one.item_ids) for one in calibration])
        part.replace(file)
    return file


def judged_release(
    data: HomeDepot, model: TrainedModel, precision: Precision, item_tokens: int = ITEM_TOKENS
) -> Release:
    """Publish a release whose ranking is the cross-encoder's own order.

    Args:
        data: The items.
        model: The cross-encoder.
        precision: In which form it is served.
        item_tokens: How many tokens of an item are read.
    """
    store = CACHE / f"ranking-{precision}"
    card = DataCard(
        source="Home Depot", fingerprint=data.fingerprint(), items=data.items.height, events=0, licence="research use"
    )
    with aside(store) as folder:
        staging = Staging(folder, card, "", {"item_tokens": item_tokens})
        shutil.copy(model_file(data, model, precision), staging.file(layout.CROSS_ENCODER))
        shutil.copy(model.tokenizer, staging.file(layout.CROSS_ENCODER_TOKENIZER))
        _write_catalogue(data.items, staging, item_tokens)
        _write_fusion(staging)
        staging.models = _cards(model, precision)
        return staging.publish(store)


def _write_catalogue(items: pl.DataFrame, staging: Staging, item_tokens: int) -> None:
    tokenizer = plain_tokenizer(str(staging.file(layout.CROSS_ENCODER_TOKENIZER)))
    build_catalogue(items, tokenizer, item_tokens).save(staging.file(layout.CATALOGUE))
    settings = {"context_items": 8, "context_tokens": CONTEXT_TOKENS, "item_tokens": item_tokens, "depth": _DEPTH}
    staging.write_json(layout.RANKER_SETTINGS, settings)


def _write_fusion(staging: Staging) -> None:
    """Write sigmoid(logit), with a missing logit taken for 0: relevance was learnt by binary cross-entropy."""
    staging.write_json(layout.FUSION_SETTINGS, {"features": ["logit"]})
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["logit"]),
        helper.make_node("Squeeze", ["logit", "axis"], ["flat"]),
        helper.make_node("Sigmoid", ["flat"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fusion",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"])],
        [
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
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
