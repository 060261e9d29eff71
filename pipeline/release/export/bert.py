"""From torch to ONNX, with a parity check: a graph that computes something else is never released."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from pipeline.release.models.bert_graph import CrossEncoderGraph, EncoderGraph

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification, BertModel

OPSET: Final = 17
PARITY_TOLERANCE: Final = 1e-4
_PARITY_SHAPES: Final = ((1, 3), (4, 16), (7, 61))


class ParityError(RuntimeError):
    """The exported graph does not compute what torch computes."""


def export_encoder(bert: BertModel, file: Path) -> float:
    """Write the bi-encoder with mean pooling; returns the largest difference to torch.

    Inputs `input_ids`, `attention_mask` int64 [n, L]; output `embedding` float32 [n, width].

    Raises:
        ParityError: The difference is above 1e-4.
    """
    reference = bert.eval()

    def expected(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = reference(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask[:, :, None]
        return nn.functional.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)

    _export(EncoderGraph(bert), file, ["input_ids", "attention_mask"], "embedding")
    return _check_parity(file, expected, int(bert.config.vocab_size), with_types=False)


def export_cross_encoder(model: BertForSequenceClassification, file: Path) -> float:
    """Write the cross-encoder; returns the largest difference to torch.

    Inputs `input_ids`, `attention_mask`, `token_type_ids` int64 [n, L]; output `logit` float32 [n].

    Raises:
        ParityError: The difference is above 1e-4.
    """
    reference = model.eval()

    def expected(input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        out = reference(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        logits: Tensor = out.logits.squeeze(-1)
        return logits

    _export(CrossEncoderGraph(model), file, ["input_ids", "attention_mask", "token_type_ids"], "logit")
    return _check_parity(file, expected, int(model.config.vocab_size), with_types=True)


def _export(graph: nn.Module, file: Path, inputs: list[str], output: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    axes: dict[str, dict[int, str]] = {name: {0: "n", 1: "L"} for name in inputs}
    axes[output] = {0: "n"}
    with warnings.catch_warnings():
        # The tracing exporter is deprecated but needs no further package, and this graph has no control flow.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            tuple(torch.ones(2, 5, dtype=torch.int64) for _ in inputs),
            str(file),
            input_names=inputs,
            output_names=[output],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def _check_parity(file: Path, expected: object, vocabulary: int, *, with_types: bool) -> float:
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    worst = 0.0
    for rows, length in _PARITY_SHAPES:
        inputs = _random_inputs(generator, rows, length, vocabulary, with_types=with_types)
        with torch.inference_mode():
            want = expected(**{name: torch.from_numpy(value) for name, value in inputs.items()})  # type: ignore[operator]
        got = session.run(None, inputs)[0]
        worst = max(worst, float(np.abs(got - want.numpy()).max()))
    if worst > PARITY_TOLERANCE:
        raise ParityError(f"{file.name} differs from torch by {worst:.2e}, more than {PARITY_TOLERANCE:.0e}")
    return worst


def _random_inputs(
    generator: np.random.Generator, rows: int, length: int, vocabulary: int, *, with_types: bool
) -> dict[str, np.ndarray]:
    """Draw token ids with padding of different lengths, so that the mask is tested too."""
    lengths = generator.integers(2, length, rows, endpoint=True)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    inputs = {"input_ids": generator.integers(1, vocabulary, (rows, length)) * mask, "attention_mask": mask}
    if with_types:
        inputs["token_type_ids"] = (np.arange(length) >= lengths[:, None] // 2).astype(np.int64) * mask
    return inputs
