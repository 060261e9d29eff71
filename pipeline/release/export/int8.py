"""An int8 form of an exported cross-encoder whose scores do not depend on batch-mates.

Every activation that meets a weight gets its scale once, from calibration pairs. A scale taken while serving would
come from the whole batch, so that a pair's score would depend on the others. Weights have a scale for each
output channel, products leave as float32; attention's products, which have no weights, and the residual stream stay in
float32. The products are written as onnxruntime's MatMulIntegerToFloat with their bias, which its own fusions of
quantise and dequantise nodes leave to another pass over the activations.
Scheme: Jacob et al., arXiv 1712.05877.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from common.arrays import Int64Array
from pipeline.release.export.unshifted_softmax import without_shift
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs

_MATRIX: Final = 2  # dimensions
_ORT_DOMAIN: Final = "com.microsoft"


def quantise(file: Path, out: Path, calibration: Sequence[TokenPairs]) -> None:
    """Write the int8 form of an exported model.

    Args:
        file: The model in float32, see `pipeline.release.export.bert`.
        out: The file to write.
        calibration: Pairs like those it will read; a few hundred are enough.
    """
    with tempfile.TemporaryDirectory() as folder, quiet_quantiser():
        lean, prepared, rounded = (Path(folder) / f"{name}.onnx" for name in ("lean", "prepared", "rounded"))
        onnx.save(without_shift(onnx.load(file), _inputs(calibration)), lean)
        quant_pre_process(lean, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            rounded,
            _Calibration(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=products_with_weights(prepared),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
        onnx.save(_with_integer_products(_unrounded_elsewhere(onnx.load(rounded))), out)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Hands out what the model reads, as the library wants it."""

    def __init__(self, all_pairs: Sequence[TokenPairs]) -> None:
        self._inputs = _inputs(all_pairs)

    def get_next(self) -> dict[str, Int64Array] | None:
        """Return the inputs of the next pair, None at the end."""
        return next(self._inputs, None)


def _inputs(all_pairs: Sequence[TokenPairs]) -> Iterator[dict[str, Int64Array]]:
    """Return pairs one at a time: padding, which is never read, must not widen a scale."""
    return (
        asdict(ModelInputs.from_pairs(pairs.part(row, row + 1))) for pairs in all_pairs for row in range(len(pairs))
    )


def products_with_weights(file: Path) -> list[str]:
    """Return the names of a graph's products with weights: attention's, of activations alone, are left out."""
    graph = onnx.load(file).graph
    weights = {weight.name for weight in graph.initializer if len(weight.dims) == _MATRIX}
    return [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]


def _unrounded_elsewhere(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let what is no product with a weight read activations as they were: the residual stream is worth its float32."""
    graph = model.graph
    before = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    rounded = {
        node.output[0]: before[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in before
    }
    for node in graph.node:
        if node.op_type != "MatMul":
            node.input[:] = [rounded.get(name, name) for name in node.input]
    read = {name for node in graph.node for name in node.input}
    unread = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.output[0] not in read]
    for node in unread:
        graph.node.remove(node)
    return model


def _with_integer_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn each product of rounded factors, dequantised before, and the bias added after into one operator."""
    graph = model.graph
    factors = {node.output[0]: node.input for node in graph.node if node.op_type == "DequantizeLinear"}
    weights = {weight.name for weight in graph.initializer}
    sums = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}
    nodes, added = [], set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear" or node.output[0] in added:
            continue
        if node.op_type == "MatMul" and node.input[0] in factors:
            total = sums[node.output[0]]
            biases = [name for name in total.input if name in weights]
            left, right = (factors[name] for name in node.input)
            columns = [name for pair in zip(left, right, strict=True) for name in pair]  # values, scales, zero points
            added.add(total.output[0])
            node = helper.make_node(  # noqa: PLW2901 - the one that takes its place
                "MatMulIntegerToFloat", columns + biases, list(total.output), node.name, domain=_ORT_DOMAIN
            )
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    if _ORT_DOMAIN not in {imported.domain for imported in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_ORT_DOMAIN, 1))
    return model


@contextmanager
def quiet_quantiser() -> Iterator[None]:
    """Keep the quantiser's advice, which is followed, off the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
