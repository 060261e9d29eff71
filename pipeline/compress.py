"""A smaller, faster cross-encoder: int8 whose scores do not depend on batch-mates, behind a gate of quality.

Every activation that meets a weight gets its scale once, from calibration pairs. A scale taken while serving would
come from the whole batch, so that the same pair would score differently beside others. Weights have a scale for each
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from common import layout
from common.catalogue import Catalogue
from common.errors import ShortlistError
from common.onnx_session import OnnxModel, SessionOptions
from pipeline.metrics import evaluate
from pipeline.progress import ProgressReport, Step
from pipeline.staging import Staging
from pipeline.train.candidates import Labelled
from pipeline.train.pair_examples import pairs_of, score_pairs
from pipeline.train.ranking_lists import RankingExample
from services.ranking.cross_encoder import CrossEncoder
from services.ranking.pair_texts import PairTexts
from services.ranking.pairs import ModelInputs, Pairs

MAX_BATCH_DEPENDENCE: Final = 1e-5
_CALIBRATION_REQUESTS: Final = 64
_CALIBRATION_CANDIDATES: Final = 12
_CHECKED_PAIRS: Final = 48
_MATRIX: Final = 2  # dimensions
_ORT_DOMAIN: Final = "com.microsoft"

Logits = npt.NDArray[np.float32]


class CompressionRefused(ShortlistError):  # noqa: N818 - named for what it is, as its siblings are
    """A compressed model that loses too much, or whose scores depend on their batch."""

    status = "FAILED_PRECONDITION"


@dataclass(frozen=True)
class Compression:
    """What a compression saves and costs.

    Attributes:
        bytes: Size of the compressed model.
        bytes_before: Size of the model in float32.
        ndcg: NDCG@10 of the compressed model's own order, the mean over the examples.
        ndcg_before: That of the model in float32.
        logit_error: The largest difference between their logits.
        batch_dependence: The largest difference in probability between a pair alone and among others.
    """

    bytes: int
    bytes_before: int
    ndcg: float
    ndcg_before: float
    logit_error: float
    batch_dependence: float

    @property
    def ndcg_loss(self) -> float:
        """The share of NDCG@10 that is lost; below 0 where the compressed model happens to be better."""
        return 1.0 - self.ndcg / self.ndcg_before if self.ndcg_before else 0.0

    def check(self, max_ndcg_loss: float) -> None:
        """Raise CompressionRefused where more than the given share of NDCG@10 is lost, or scores depend on batches."""
        if not self.ndcg_loss <= max_ndcg_loss:
            raise CompressionRefused(
                f"int8 loses {self.ndcg_loss:.1%} of NDCG@10 ({self.ndcg_before:.4f} to {self.ndcg:.4f}) on "
                f"validation, more than the {max_ndcg_loss:.1%} allowed; keep fp32, or allow a larger max_ndcg_loss"
            )
        if not self.batch_dependence <= MAX_BATCH_DEPENDENCE:
            raise CompressionRefused(
                f"int8 gives a pair probabilities that differ by {self.batch_dependence:.1e} with its batch-mates, "
                f"more than {MAX_BATCH_DEPENDENCE:.0e}; keep fp32"
            )


def compress(
    staging: Staging,
    catalogue: Catalogue,
    train: Sequence[Labelled],
    valid: Sequence[Labelled],
    max_ndcg_loss: float,
    report: ProgressReport,
) -> None:
    """Replace a staged release's cross-encoder by its int8 form.

    Args:
        staging: The release so far, with the cross-encoder in float32.
        catalogue: Its items.
        train: Requests to calibrate on.
        valid: Requests to judge on, other people's.
        max_ndcg_loss: The share of NDCG@10 that may be lost.
        report: Where to say what is done.

    Raises:
        CompressionRefused: It loses more, or its scores depend on batch-mates; the staged model stays in float32.
    """
    texts = PairTexts.load(staging.release(), catalogue)
    first = [_example(one, texts, _CALIBRATION_CANDIDATES) for one in train[:_CALIBRATION_REQUESTS]]
    judged = [_example(one, texts, len(one.labels)) for one in valid if one.labels.any()]
    file = staging.file(layout.CROSS_ENCODER)
    compressed = staging.path.with_name(f"{staging.path.name}-int8.onnx")
    try:
        with report.step("Compressing the cross-encoder to int8") as step:
            quantise(file, compressed, [example.pairs for example in first])
            found = compare(file, compressed, judged, step)
            found.check(max_ndcg_loss)
        compressed.replace(file)
    finally:
        compressed.unlink(missing_ok=True)
    card = staging.models["cross_encoder"]
    staging.models["cross_encoder"] = card.model_copy(
        update={"precision": "int8", "parity_max_abs_error": found.logit_error}
    )
    staging.metrics["compression"] = asdict(found)


def quantise(file: Path, out: Path, calibration: Sequence[Pairs]) -> None:
    """Write the int8 form of an exported model.

    Args:
        file: The model in float32, see `pipeline.export`.
        out: Where to write.
        calibration: Pairs like those it will read; a few hundred are enough.
    """
    with tempfile.TemporaryDirectory() as folder, quiet_quantiser():
        prepared, rounded = Path(folder) / "prepared.onnx", Path(folder) / "rounded.onnx"
        quant_pre_process(file, prepared, skip_symbolic_shape=True)
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


def compare(before: Path, after: Path, examples: Sequence[RankingExample], step: Step) -> Compression:
    """Measure a compressed model against the one it came from, on examples that neither was trained on."""
    full, small = (CrossEncoder(OnnxModel(file, SessionOptions())) for file in (before, after))
    pairs = [example.pairs for example in examples]
    step.at(0, 2 * sum(map(len, pairs)))
    wanted, got = score_pairs(full, pairs, step), score_pairs(small, pairs, step)
    return Compression(
        bytes=after.stat().st_size,
        bytes_before=before.stat().st_size,
        ndcg=float(ndcg(examples, got).mean()),
        ndcg_before=float(ndcg(examples, wanted).mean()),
        logit_error=max(float(np.abs(one - other).max()) for one, other in zip(wanted, got, strict=True)),
        batch_dependence=batch_dependence(small, pairs),
    )


def ndcg(examples: Sequence[RankingExample], logits: Sequence[Logits]) -> npt.NDArray[np.float64]:
    """Return the NDCG@10 of each example's order by logit; those without anything relevant are left out."""
    relevance, rankings = {}, {}
    for number, (example, scores) in enumerate(zip(examples, logits, strict=True)):
        if example.labels.any():
            relevance[str(number)] = {str(place): float(label) for place, label in enumerate(example.labels)}
            rankings[str(number)] = [str(place) for place in np.argsort(-scores, kind="stable")]
    return evaluate(rankings, relevance, ["ndcg@10"])["ndcg@10"]


def batch_dependence(model: CrossEncoder, all_pairs: Sequence[Pairs]) -> float:
    """Return by how much a pair's probability changes between itself alone and among others, padded; at the most."""
    worst, checked = 0.0, 0
    for pairs in all_pairs:
        together = _logits(model, pairs, np.arange(len(pairs)))
        alone = np.concatenate([_logits(model, pairs, np.array([row])) for row in range(len(pairs))])
        worst = max(worst, float(np.abs(_sigmoid(together) - _sigmoid(alone)).max()))
        checked += len(pairs)
        if checked >= _CHECKED_PAIRS:
            break
    return worst


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Hands out pairs one at a time: padding, which is never read, must not widen a scale."""

    def __init__(self, all_pairs: Sequence[Pairs]) -> None:
        self._rows = ((pairs, row) for pairs in all_pairs for row in range(len(pairs)))

    def get_next(self) -> dict[str, npt.NDArray[np.int64]] | None:
        """Return the inputs of the next pair, None at the end."""
        found = next(self._rows, None)
        return None if found is None else asdict(_inputs(found[0], np.array([found[1]])))


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


def _example(labelled: Labelled, texts: PairTexts, candidates: int) -> RankingExample:
    places = np.arange(min(candidates, len(labelled.labels)))
    return RankingExample(pairs_of(labelled, places, texts), labelled.labels[places])


def _logits(model: CrossEncoder, pairs: Pairs, rows: npt.NDArray[np.int64]) -> Logits:
    inputs = _inputs(pairs, rows)
    return model(inputs.input_ids, inputs.attention_mask, inputs.token_type_ids)


def _inputs(pairs: Pairs, rows: npt.NDArray[np.int64]) -> ModelInputs:
    inputs = ModelInputs.empty(len(rows), int(pairs.lengths[rows].max()))
    inputs.fill(0, pairs, rows)
    return inputs


def _sigmoid(logits: Logits) -> npt.NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


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
