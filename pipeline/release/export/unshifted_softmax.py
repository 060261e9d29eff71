"""Attention without softmax's shift, if calibration shows that no shift is needed.

Softmax takes the largest score off each row so that no exponential overflows. Where scores stay far below what float32
takes, ``softmax(s + mask) @ v`` is ``(exp(s) @ (m v)) / (exp(s) @ m)`` with m 1 for tokens and 0 for padding: no pass
over the scores for their largest, none for the mask, none to divide them. What is padded weighs exactly 0. Softmax
gives it the exponential of a very negative number, and onnxruntime's smallest there is denormal: each such weight costs
the product that reads it a hundred times what another does.

Scores beyond what calibration leads to expect are cut off well before anything overflows, those of padding too: what
rounds its inputs next would make some number of an infinite one. A pair with such scores is read a little
differently than with softmax, and like any other alone as in a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, helper

MASK: Final = "attention_mask"
# Of the largest score of each row in calibration, and of any score while serving. Float32 ends at the exponential of
# 88, and sums over rows and values take up to a million times their largest weight.
_FARTHEST: Final = 60.0
_CUT: Final = 72.0
_COLUMN: Final = "unshifted/mask_column"  # [L, n, 1], as states and values lie
_LEAST, _MOST = "unshifted/least", "unshifted/most"
_SUMMING: Final = {4: "unshifted/mask_of_heads", 3: "unshifted/mask_of_row"}  # by dimensions of the weights


@dataclass(frozen=True, eq=False)
class _Attention:
    """The nodes of one attention: Add(scores, mask) -> Softmax -> MatMul(weights, values).

    Attributes:
        softmax: The softmax.
        add: What masks its scores.
        scores: The scores before.
        heard: The product of weights and values.
        split: The first of the nodes that put the values, [L, n, width], in the product's order.
        dimensions: Those of the weights: 4, or 3 where the first token alone asks.
    """

    softmax: NodeProto
    add: NodeProto
    scores: str
    heard: NodeProto
    split: NodeProto
    dimensions: int


def without_shift(model: ModelProto, feeds: Iterable[Mapping[str, Any]]) -> ModelProto:
    """Return an exported BERT, see `pipeline.release.models.bert_graph`, that shifts scores only where they need it.

    Args:
        model: The model in float32; it is changed in place.
        feeds: Inputs like those it will read, unpadded.
    """
    attentions = list(_attentions(model.graph))
    if not attentions:
        return model
    far = _farthest(model, [one.add.output[0] for one in attentions], feeds)
    chosen = [one for one, farthest in zip(attentions, far, strict=True) if farthest <= _FARTHEST]
    if chosen:
        _rewrite(model.graph, chosen)
    return model


def _attentions(graph: onnx.GraphProto) -> Iterator[_Attention]:
    makers = {name: node for node in graph.node for name in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    for softmax in graph.node:
        if softmax.op_type != "Softmax":
            continue
        add, heard = makers[softmax.input[0]], readers[softmax.output[0]]
        (scores,) = (name for name in add.input if not _masks_only(name, graph, makers))
        order = split = makers[heard.input[1]]
        if makers[split.input[0]].op_type == "Reshape":
            split = makers[split.input[0]]
        dimensions = len(helper.get_node_attr_value(order, "perm"))
        yield _Attention(softmax, add, scores, heard, split, dimensions)


def _masks_only(name: str, graph: onnx.GraphProto, makers: Mapping[str, NodeProto]) -> bool:
    """Tell whether a value is made of the attention mask and nothing else that the model is given."""
    given, seen, left = {one.name for one in graph.input}, set(), [name]
    while left:
        if (name := left.pop()) not in seen:
            seen.add(name)
            left.extend(makers[name].input if name in makers else ())
    return seen & given == {MASK}


def _farthest(model: ModelProto, masked: list[str], feeds: Iterable[Mapping[str, Any]]) -> list[float]:
    """Return by attention how far from 0 the largest score of a row was."""
    watched = ModelProto()
    watched.CopyFrom(model)
    names = [f"{name}/largest" for name in masked]
    for name, largest in zip(masked, names, strict=True):
        watched.graph.node.append(helper.make_node("ReduceMax", [name], [largest], axes=[-1], keepdims=0))
        watched.graph.output.append(helper.make_empty_tensor_value_info(largest))
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = ([np.abs(one).max() for one in session.run(names, dict(feed))] for feed in feeds)
    far: list[float] = np.max(list(rows), axis=0).tolist()
    return far


def _rewrite(graph: onnx.GraphProto, attentions: list[_Attention]) -> None:
    nodes = list(_masks({one.dimensions for one in attentions}))
    by_softmax = {one.softmax.output[0]: one for one in attentions}
    by_heard = {one.heard.output[0]: one for one in attentions}
    by_split = {one.split.output[0] for one in attentions}
    masks = {one.add.output[0] for one in attentions}
    for node in graph.node:
        name = node.output[0]
        if name in masks:
            continue
        if name in by_split:
            node.input[0], values = f"{name}/unpadded", node.input[0]
            nodes.append(helper.make_node("Mul", [values, _COLUMN], [node.input[0]]))
        if name in by_softmax:
            cut = f"{name}/cut"
            nodes.append(helper.make_node("Clip", [by_softmax[name].scores, _LEAST, _MOST], [cut]))
            node = helper.make_node("Exp", [cut], [name])  # noqa: PLW2901 - in its place
        if name in by_heard:
            summing = _SUMMING[by_heard[name].dimensions]
            node.output[0] = f"{name}/weighed"
            nodes.append(helper.make_node("MatMul", [node.input[0], summing], [f"{name}/weight"]))
            nodes += [node, helper.make_node("Div", [node.output[0], f"{name}/weight"], [name])]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _masks(dimensions: set[int]) -> Iterator[NodeProto]:
    """Yield what cuts scores off, and the mask in the shapes that values and weights are multiplied with."""
    axes = {_COLUMN: [2], _SUMMING[4]: [1, 3], _SUMMING[3]: [2]}
    for name, bound in ((_LEAST, -_CUT), (_MOST, _CUT)):
        yield helper.make_node("Constant", [], [name], value_float=bound)
    yield helper.make_node("Cast", [MASK], ["unshifted/mask"], to=onnx.TensorProto.FLOAT)
    yield helper.make_node("Transpose", ["unshifted/mask"], ["unshifted/mask_by_token"], perm=[1, 0])
    for name in (_COLUMN, *(_SUMMING[count] for count in sorted(dimensions))):
        of = "unshifted/mask_by_token" if name == _COLUMN else "unshifted/mask"
        places = helper.make_tensor(f"{name}_axes", onnx.TensorProto.INT64, [len(axes[name])], axes[name])
        yield helper.make_node("Constant", [], [f"{name}_axes"], value=places)
        yield helper.make_node("Unsqueeze", [of, f"{name}_axes"], [name])
