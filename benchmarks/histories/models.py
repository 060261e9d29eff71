"""The text rankers: a cross-encoder and a late-interaction tower that read histories, trained once and cached.

The cross-encoder continues from the one trained on Home Depot's judgements, since some thousand lists of next items are
too few to learn relevance from. It teaches the tower, on lists that it was not trained on.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from transformers import BertForSequenceClassification

from benchmarks.histories.requests import Requests
from common.onnx_session import OnnxModel, SessionOptions
from common.release.manifest import file_sha256
from pipeline.data.dataset.dataset import Dataset
from pipeline.learning.examples.late_interaction import distilled, late_lists
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.examples.text_pairs import training_lists
from pipeline.learning.trainers.cross_encoder import train_cross_encoder
from pipeline.learning.trainers.late_interaction import load_tower, save_tower, train_late_interaction
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.config.training_settings import CrossEncoderTraining, LateTraining
from pipeline.release.export import bert, int8, late_interaction, unshifted_softmax
from pipeline.release.export.cached_export import exported_cross_encoder, written_by
from pipeline.release.export.int8 import quantise
from pipeline.release.export.late_interaction import export_late_tower, write_context_tower
from pipeline.release.models import bert_graph, late_interaction_tower
from pipeline.release.models.base_model import WEIGHTS, BaseModel
from pipeline.release.models.tokenizer import plain_tokenizer
from pipeline.release.models.vocabulary_trimming import TOKENIZER
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.release_settings import RankerSettings

CONTEXT: Final = RankerSettings(context_items=8, context_tokens=96, item_tokens=32, depth=0)
CROSS_ENCODER: Final = CrossEncoderTraining(layers=6, learning_rate=1e-4, head_learning_rate=5e-4, warm_up_steps=20)
TOWER: Final = LateTraining(layers=6, learning_rate=1e-4, epochs=1)
LIST_SIZE: Final = 8
CROSS_ENCODER_LISTS: Final = 800
TOWER_LISTS: Final = 1_200  # the cross-encoder's first; on those its logits would repeat the labels
_CALIBRATION_LISTS: Final = 20
INT8: Final = f"model-int8-{written_by(bert_graph, bert, int8, unshifted_softmax)}.onnx"
TOWER_FILE: Final = f"tower-{written_by(bert_graph, late_interaction_tower, late_interaction)}.onnx"
CONTEXT_TOWER_FILE: Final = (
    f"context_tower-{written_by(bert_graph, late_interaction_tower, late_interaction, int8)}.onnx"
)
_FORMAT: Final = 1  # raise it if the same requests and settings give another model than before


class HistoryModels:
    """Trains and caches the text rankers.

    Args:
        dataset: The items.
        base: The model that the tower is fine-tuned from, with the tokenizer of both.
        cache: Trained models.
        report: Shows each training.

    Attributes:
        catalogue: The items with their token ids.
        texts: Histories and items in the models' tokens.
    """

    def __init__(self, dataset: Dataset, base: BaseModel, cache: ModelCache, report: ProgressReport) -> None:
        tokenizer = plain_tokenizer(str(base.path / TOKENIZER))
        catalogue = build_catalogue(dataset.items, tokenizer, CONTEXT.item_tokens)
        self.catalogue = catalogue
        self.texts = PairTokenizer(catalogue, tokenizer, CONTEXT)
        self._items = hashlib.sha256(catalogue.tokens.astype("<i4").tobytes()).hexdigest()
        self._base = base
        self._cache = cache
        self._report = report

    def cross_encoder(self, requests: Requests, first: Path) -> Path:
        """Return the folder of the cross-encoder trained on lists of some requests, in float32 and in int8.

        Args:
            requests: Each with its target among the candidates.
            first: The folder of the model that it continues from.
        """
        title = f"Fine-tuning the cross-encoder on {CROSS_ENCODER_LISTS:,} lists with histories"

        def train(work: Path) -> BertForSequenceClassification:
            with self._report.step(title) as step:
                advance = lambda done, total, _: step.at(done, total)  # noqa: E731 - one line
                return train_cross_encoder(
                    first, self._lists(requests, CROSS_ENCODER_LISTS), CROSS_ENCODER, work, advance
                )

        inputs = [
            file_sha256(first / WEIGHTS),
            dataclasses.asdict(CROSS_ENCODER),
            CROSS_ENCODER_LISTS,
            *self._inputs(requests),
        ]
        folder = self._cache.get("history-cross-encoder", inputs, train)
        if not (folder / INT8).exists():
            with self._report.step("Quantising the cross-encoder"):
                pairs = [one.pairs for one in self._lists(requests, _CALIBRATION_LISTS)]
                quantise(exported_cross_encoder(folder), folder / f"{INT8}.part", pairs)
                (folder / f"{INT8}.part").rename(folder / INT8)
        return folder

    def tower(self, requests: Requests, cross_encoder: Path) -> Path:
        """Return the folder of the tower trained on lists of the same requests, distilled from the cross-encoder."""

        def make(folder: Path, work: Path) -> None:
            chosen = late_lists(
                requests.labelled(), self.texts, lists=TOWER_LISTS, size=LIST_SIZE, seed=CROSS_ENCODER.seed
            )
            with self._report.step("Scoring lists for distillation") as step:
                examples = distilled(
                    chosen, self.texts, load_cross_encoder(cross_encoder / INT8), CROSS_ENCODER_LISTS, step
                )
            with self._report.step(f"Training late interaction on {len(examples):,} lists with histories") as step:
                advance = lambda done, total, _: step.at(done, total)  # noqa: E731 - one line
                graph = train_late_interaction(self._base.path, examples, self.texts.template, TOWER, work, advance)
            save_tower(graph, folder)

        inputs = [
            self._base.sha256,
            cross_encoder.name,
            TOWER_LISTS,
            dataclasses.asdict(TOWER),
            *self._inputs(requests),
        ]
        folder = self._cache.made("history-late-interaction", inputs, make)
        if not (folder / CONTEXT_TOWER_FILE).exists():
            export_late_tower(load_tower(self._base.path, TOWER, folder), folder / TOWER_FILE)
            write_context_tower(folder / TOWER_FILE, folder / CONTEXT_TOWER_FILE)
        return folder

    def _lists(self, requests: Requests, lists: int) -> Iterator[RankingExample]:
        return training_lists(requests.labelled(), self.texts, lists=lists, size=LIST_SIZE, seed=CROSS_ENCODER.seed)

    def _inputs(self, requests: Requests) -> list[object]:
        return [_FORMAT, requests.fingerprint(), self._items, CONTEXT.model_dump(mode="json"), LIST_SIZE]


def load_cross_encoder(file: Path, options: SessionOptions | None = None) -> CrossEncoder:
    """Load a cross-encoder, by default on as many threads as there are cores."""
    return CrossEncoder(OnnxModel(file, options or SessionOptions()))
