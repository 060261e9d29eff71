"""The quality gate for smaller, faster forms of a release's cross-encoder.

Eight bits (`pipeline.release.export.int8`), fewer layers (`pipeline.learning.trainers.distillation`), fewer tokens
(`pipeline.release.models.vocabulary_trimming`). Validation requests are read before and after, and what loses more than
the settings allow is not released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from common.errors import ShortlistError
from common.onnx_session import OnnxModel, SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.examples.text_pairs import pairs_of, score_pairs
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.progress import ProgressReport, ProgressStep
from pipeline.release.artifacts.staging import Staging
from pipeline.release.export.int8 import quantise
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.pair_tokens import ModelInputs, TokenPairs

MAX_BATCH_DEPENDENCE: Final = 1e-5
_CALIBRATION_REQUESTS: Final = 64
_CALIBRATION_CANDIDATES: Final = 12
_CHECKED_PAIRS: Final = 48


class CompressionRefused(ShortlistError):  # noqa: N818 - named for what it is, as its siblings are
    """A compressed model that loses too much, or whose scores depend on their batch."""

    status = "FAILED_PRECONDITION"


@dataclass(frozen=True)
class Compression:
    """What a compression saves and costs.

    Attributes:
        bytes: Size of the compressed model.
        bytes_before: Size of the model that it came from.
        ndcg: NDCG@10 of the compressed model's own order, the mean over the examples.
        ndcg_before: That of the model that it came from.
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
        """Fraction of NDCG@10 that is lost; negative if the compressed model is better."""
        return 1.0 - self.ndcg / self.ndcg_before if self.ndcg_before else 0.0

    def check(self, name: str, max_ndcg_loss: float) -> None:
        """Raise CompressionRefused if more than the given share of NDCG@10 is lost, or scores depend on the batch.

        Args:
            name: What the compression is called.
            max_ndcg_loss: The share of NDCG@10 that may be lost.
        """
        if not self.ndcg_loss <= max_ndcg_loss:
            raise CompressionRefused(
                f"{name} loses {self.ndcg_loss:.1%} of NDCG@10 ({self.ndcg_before:.4f} to {self.ndcg:.4f}) on "
                f"validation, more than the {max_ndcg_loss:.1%} allowed; leave it out, or allow a larger max_ndcg_loss"
            )
        if not self.batch_dependence <= MAX_BATCH_DEPENDENCE:
            raise CompressionRefused(
                f"{name} gives a pair probabilities that differ by {self.batch_dependence:.1e} with its batch-mates, "
                f"more than {MAX_BATCH_DEPENDENCE:.0e}; leave it out"
            )


@dataclass(frozen=True)
class Form:
    """A model, and the examples to judge it on in its own tokens.

    Attributes:
        file: The exported model.
        examples: The same requests for every form that is compared.
    """

    file: Path
    examples: Sequence[RankingExample]


class Gate:
    """Judges compressed forms of a staged release's cross-encoder.

    Args:
        staging: The release so far.
        valid: Requests to judge on, which no model has learnt from.
        max_ndcg_loss: The share of NDCG@10 that each compression may lose.
        report: Shows progress.
    """

    def __init__(
        self, staging: Staging, valid: Sequence[LabelledCandidates], max_ndcg_loss: float, report: ProgressReport
    ) -> None:
        self._staging = staging
        self._valid = [one for one in valid if one.labels.any()]
        self._max_ndcg_loss = max_ndcg_loss
        self._report = report

    def form(self, file: Path, texts: PairTokenizer) -> Form:
        """Return a model with the requests as it reads them."""
        return Form(file, [_example(one, texts, len(one.labels)) for one in self._valid])

    def judge(self, name: str, before: Form, after: Form) -> Compression:
        """Compare two forms and write down what was found; raises CompressionRefused."""
        with self._report.step(f"Judging the cross-encoder: {name}") as step:
            found = compare(before, after, step)
        found.check(name, self._max_ndcg_loss)
        self._staging.metrics.setdefault("compression", {})[name] = asdict(found)
        return found

    def replace(self, name: str, texts: PairTokenizer, smaller: Path) -> Compression:
        """Put a compressed form in the cross-encoder's place, once it was judged.

        Args:
            name: What the compression is called.
            texts: Puts requests into tokens.
            smaller: The form's file, on the release's file system; it is moved or removed.

        Raises:
            CompressionRefused: It loses too much, or its scores depend on batch-mates; the former one stays.
        """
        file = self._staging.file(layout.CROSS_ENCODER)
        try:
            found = self.judge(name, self.form(file, texts), self.form(smaller, texts))
            smaller.replace(file)
        finally:
            smaller.unlink(missing_ok=True)
        return found


def to_int8(staging: Staging, catalogue: Catalogue, train: Sequence[LabelledCandidates], gate: Gate) -> None:
    """Replace a staged release's cross-encoder by its int8 form.

    Args:
        staging: The release so far, with the cross-encoder in float32.
        catalogue: Its items.
        train: Requests to calibrate on.
        gate: Judges it.

    Raises:
        CompressionRefused: It loses too much, or its scores depend on batch-mates; the staged model stays in float32.
    """
    texts, file = PairTokenizer.load(staging.release(), catalogue), staging.file(layout.CROSS_ENCODER)
    first = [_example(one, texts, _CALIBRATION_CANDIDATES).pairs for one in train[:_CALIBRATION_REQUESTS]]
    smaller = staging.path.with_name("int8.onnx")
    quantise(file, smaller, first)
    found = gate.replace("int8", texts, smaller)
    card = staging.models["cross_encoder"]
    changed = {"precision": "int8", "parity_max_abs_error": found.logit_error}
    staging.models["cross_encoder"] = card.model_copy(update=changed)


def compare(before: Form, after: Form, step: ProgressStep) -> Compression:
    """Measure a compressed model against the one it came from, on examples that neither was trained on."""
    full, small = (CrossEncoder(OnnxModel(form.file, SessionOptions())) for form in (before, after))
    wanted_pairs, pairs = ([example.pairs for example in form.examples] for form in (before, after))
    step.at(0, sum(map(len, wanted_pairs)) + sum(map(len, pairs)))
    wanted, got = score_pairs(full, wanted_pairs, step), score_pairs(small, pairs, step)
    return Compression(
        bytes=after.file.stat().st_size,
        bytes_before=before.file.stat().st_size,
        ndcg=float(ndcg(after.examples, got).mean()),
        ndcg_before=float(ndcg(before.examples, wanted).mean()),
        logit_error=max(float(np.abs(one - other).max()) for one, other in zip(wanted, got, strict=True)),
        batch_dependence=batch_dependence(small, pairs),
    )


def ndcg(examples: Sequence[RankingExample], logits: Sequence[Float32Array]) -> npt.NDArray[np.float64]:
    """Return the NDCG@10 of each example's order by logit; those without anything relevant are left out."""
    relevance, rankings = {}, {}
    for number, (example, scores) in enumerate(zip(examples, logits, strict=True)):
        if example.labels.any():
            relevance[str(number)] = {str(place): float(label) for place, label in enumerate(example.labels)}
            rankings[str(number)] = [str(place) for place in np.argsort(-scores, kind="stable")]
    return evaluate(rankings, relevance, ["ndcg@10"])["ndcg@10"]


def batch_dependence(model: CrossEncoder, all_pairs: Sequence[TokenPairs]) -> float:
    """Return by how much a pair's probability changes between itself alone and among others, padded; at the most."""
    worst, checked = 0.0, 0
    for pairs in all_pairs:
        together = _logits(model, pairs)
        alone = np.concatenate([_logits(model, pairs.part(row, row + 1)) for row in range(len(pairs))])
        worst = max(worst, float(np.abs(_sigmoid(together) - _sigmoid(alone)).max()))
        checked += len(pairs)
        if checked >= _CHECKED_PAIRS:
            break
    return worst


def _example(labelled: LabelledCandidates, texts: PairTokenizer, candidates: int) -> RankingExample:
    places = np.arange(min(candidates, len(labelled.labels)))
    return RankingExample(pairs_of(labelled, places, texts), labelled.labels[places])


def _logits(model: CrossEncoder, pairs: TokenPairs) -> Float32Array:
    inputs = ModelInputs.from_pairs(pairs)
    return model(inputs.input_ids, inputs.attention_mask, inputs.token_type_ids)


def _sigmoid(logits: Float32Array) -> npt.NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
