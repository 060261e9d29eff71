"""The late-interaction tier's part of a release: the tower in ONNX with a parity check, and every item's vectors."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from common.arrays import Float32Array
from common.onnx_session import OnnxModel, SessionOptions
from common.ragged import TokenRows
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.progress import ProgressStep
from pipeline.release.artifacts.staging import Staging
from pipeline.release.export.bert import OPSET, PARITY_TOLERANCE, ParityError
from pipeline.release.export.int8 import products_with_weights, quiet_quantiser
from pipeline.release.models.late_interaction_tower import Encoded, LateTowerGraph
from services.ranking.late_interaction.item_vectors import LateItemRows
from services.ranking.late_interaction.tower import LateInteractionTower, Role
from services.ranking.late_interaction.vector_codec import Bits, VectorCodec
from services.ranking.pairs.pair_tokenizer import PairTokenizer

_PARITY_SHAPES: Final = ((1, 2), (1, 9), (5, 24), (3, 80))
_SAMPLE_TEXTS: Final = 2_000
_TEXTS_AT_ONCE: Final = 512
# Where a dimension's levels end, in its root mean squares: the best of these is taken.
_REACHES: Final = np.linspace(1.6, 8.0, 33)
_IR_VERSION: Final = 8


def export_late_tower(graph: LateTowerGraph, file: Path) -> float:
    """Write a tower; returns the largest difference of its outputs to torch's.

    Inputs `input_ids` int32 [n, L], `role` int32 [n]; outputs `vectors` float32 [n, L, width], `weights` [n, L],
    `pooled` [n, width], `prior` [n].

    Raises:
        ParityError: The difference is above 1e-4.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    graph = graph.eval()
    example = torch.ones(2, 5, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in pipeline.release.export.bert
        torch.onnx.export(
            graph,
            example,
            str(file),
            input_names=["input_ids", "role"],
            output_names=list(Encoded._fields),
            dynamic_axes={
                "input_ids": {0: "n", 1: "L"},
                "role": {0: "n"},
                "vectors": {0: "n", 1: "L"},
                "weights": {0: "n", 1: "L"},
                "pooled": {0: "n"},
                "prior": {0: "n"},
            },
            opset_version=OPSET,
            dynamo=False,
        )
    return _check_parity(graph, file)


def write_late_interaction(staging: Staging, bits: Bits, step: ProgressStep) -> None:
    """Encode every item of a staged release that has catalogue, tokenizer and tower, and write the tier's other files.

    Args:
        staging: The release so far.
        bits: Of a token vector's dimension.
        step: Told of each distinct text.
    """
    release = staging.release()
    catalogue = Catalogue.open(release.file(layout.CATALOGUE))
    texts = PairTokenizer.load(release, catalogue)
    tower = LateInteractionTower(OnnxModel(release.file(layout.LATE_TOWER), SessionOptions()), texts.template)
    write_context_tower(release.file(layout.LATE_TOWER), staging.file(layout.LATE_CONTEXT_TOWER))
    tokens, text_of_item = distinct_texts(catalogue, texts)
    codecs = fitted_codecs(tower, tokens, bits)
    rows = encoded_texts(tower, tokens, codecs, step)
    arrays: dict[str, npt.NDArray[Any]] = {
        layout.LATE_STEPS: np.stack([codecs.tokens.step, codecs.pooled.step]),
        layout.LATE_TOKENS: rows.codes,
        layout.LATE_LENGTHS: rows.lengths.astype(np.uint16),
        layout.LATE_POOLED: rows.pooled,
        layout.LATE_PRIOR: rows.prior,
        layout.LATE_TEXT_OF_ITEM: text_of_item.astype(np.int32),
    }
    for name, array in arrays.items():
        np.save(staging.file(name), array)
    staging.write_json(layout.LATE_SETTINGS, {"width": codecs.tokens.width, "bits": bits})
    onnx.save(products_graph(codecs.tokens.width), str(staging.file(layout.LATE_PRODUCTS)))


def write_context_tower(tower: Path, file: Path) -> None:
    """Write the int8 form of a tower, which reads a short text in a third of the time.

    Activations are scaled by each call's largest. User contexts are read one at a time, so none has batch-mates to
    depend on; items are not read with it.
    """
    with tempfile.TemporaryDirectory() as folder, quiet_quantiser():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(tower, prepared, skip_symbolic_shape=True)
        quantize_dynamic(
            prepared,
            file,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=products_with_weights(prepared),
        )


class Codecs(NamedTuple):
    """How token vectors and pooled vectors are stored."""

    tokens: VectorCodec
    pooled: VectorCodec


def distinct_texts(catalogue: Catalogue, texts: PairTokenizer) -> tuple[TokenRows, npt.NDArray[np.int64]]:
    """Return the distinct texts of a catalogue in tokens, and the text of each item."""
    rows, _ = texts.items(np.arange(len(catalogue)), {})
    number: dict[bytes, int] = {}
    text_of_item = np.array([number.setdefault(row.tobytes(), len(number)) for row in rows], dtype=np.int64)
    _, first = np.unique(text_of_item, return_index=True)
    return rows.take(first), text_of_item


def fitted_codecs(tower: LateInteractionTower, texts: TokenRows, bits: Bits) -> Codecs:
    """Fit the codecs on some of the texts, the same each time."""
    sample = np.unique(np.linspace(0, len(texts) - 1, _SAMPLE_TEXTS).astype(np.int64))
    vectors = tower(texts.take(sample), Role.ITEM)
    return Codecs(fitted_codec(vectors.vectors, bits), fitted_codec(vectors.pooled, 8))


def encoded_texts(tower: LateInteractionTower, texts: TokenRows, codecs: Codecs, step: ProgressStep) -> LateItemRows:
    """Read items' texts through the serving tower, a few hundred at a time, and encode their vectors."""
    step.at(0, len(texts))
    parts = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        part = texts.take(np.arange(start, min(start + _TEXTS_AT_ONCE, len(texts))))
        parts.append(LateItemRows.from_vectors(tower(part, Role.ITEM), codecs.tokens, codecs.pooled))
        step.advance(len(part))
    return LateItemRows.concatenate(parts)


def fitted_codec(vectors: Float32Array, bits: Bits) -> VectorCodec:
    """Return the codec that loses least of such vectors, dimension by dimension; float32[rows, width]."""
    size = np.maximum(np.sqrt((vectors**2).mean(axis=0)), 1e-6)
    best = np.full(vectors.shape[1], np.inf)
    chosen = np.empty(vectors.shape[1], np.float32)
    for reach in _REACHES:
        codec = VectorCodec((2 * reach * size / (1 << bits)).astype(np.float32), bits)
        lost = ((codec.decode(codec.encode(vectors)) - vectors) ** 2).mean(axis=0)
        chosen = np.where(lost < best, codec.step, chosen)
        best = np.minimum(lost, best)
    return VectorCodec(chosen.astype(np.float32), bits)


def products_graph(width: int) -> onnx.ModelProto:
    """Return the joint step's product: `levels` uint8 [tokens, width] by `context` int8 [width, n], exact in int32."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["levels", "context"], ["sums"])],
        "products",
        [
            helper.make_tensor_value_info("levels", TensorProto.UINT8, ["tokens", width]),
            helper.make_tensor_value_info("context", TensorProto.INT8, [width, "n"]),
        ],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, ["tokens", "n"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)


def _check_parity(graph: LateTowerGraph, file: Path) -> float:
    model = OnnxModel(file, SessionOptions())
    generator = np.random.default_rng(0)
    worst = max(_difference(graph, model, generator, *shape) for shape in _PARITY_SHAPES)
    if worst > PARITY_TOLERANCE:
        raise ParityError(f"{file.name} differs from torch by {worst:.2e}, more than {PARITY_TOLERANCE:.0e}")
    return worst


def _difference(
    graph: LateTowerGraph, model: OnnxModel, generator: np.random.Generator, rows: int, length: int
) -> float:
    """Compare both on drawn texts of different lengths."""
    vocabulary = int(graph.tower.embeddings.word_embeddings.num_embeddings)
    ids = generator.integers(1, vocabulary, (rows, length), dtype=np.int32)
    ids[np.arange(length) >= generator.integers(2, length, rows, endpoint=True)[:, None]] = 0
    role = generator.integers(0, 2, rows, dtype=np.int32)
    with torch.inference_mode():
        wanted = graph(torch.from_numpy(ids), torch.from_numpy(role))
    got = model.run_all({"input_ids": ids, "role": role})
    return max(float(np.abs(one - want.numpy()).max()) for one, want in zip(got, wanted, strict=True))
