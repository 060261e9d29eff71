"""The rankers of text: a full cross-encoder and a late-interaction tower that read histories, trained once and kept.

The cross-encoder goes on from the one that read Home Depot's training judgements: what is asked for and what a title
says is learnt there, and some thousand lists of next items are too few to learn it from. It teaches the tower, on lists
that it did not learn from.
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
from common.release.store import file_sha256
from pipeline.data.dataset.dataset import Dataset
from pipeline.learning.examples.late_interaction import distilled, late_lists
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.examples.text_pairs import training_lists
from pipeline.learning.training.cross_encoder import train_cross_encoder
from pipeline.learning.training.late_interaction import load_tower, save_tower, train_late_interaction
from pipeline.learning.training.model_cache import ModelCache
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
READER: Final = CrossEncoderTraining(layers=6, learning_rate=1e-4, head_learning_rate=5e-4, warm_up_steps=20)
TOWER: Final = LateTraining(layers=6, learning_rate=1e-4, epochs=1)
LIST_SIZE: Final = 8
READER_LISTS: Final = 800
TOWER_LISTS: Final = 1_200  # the cross-encoder's own ones first, of which its logits would tell the labels once more
_CALIBRATION_LISTS: Final = 20
INT8: Final = f"model-int8-{written_by(bert_graph, bert, int8, unshifted_softmax)}.onnx"
TOWER_FILE: Final = f"tower-{written_by(bert_graph, late_interaction_tower, late_interaction)}.onnx"
CONTEXT_TOWER_FILE: Final = (
    f"context_tower-{written_by(bert_graph, late_interaction_tower, late_interaction, int8)}.onnx"
)
_FORMAT: Final = 1  # raise it whenever the same requests and settings train another model than before


class HistoryModels:
    """Trains the rankers of text, and keeps them.

    Args:
        dataset: The items.
        base: What the tower grows from, with the tokenizer of both.
        kept: Where trained models lie.
        report: Told of each training.

    Attributes:
        catalogue: The items, their token ids ready.
        texts: Histories and items in the models' tokens.
    """

    def __init__(self, dataset: Dataset, base: BaseModel, kept: ModelCache, report: ProgressReport) -> None:
        tokenizer = plain_tokenizer(str(base.path / TOKENIZER))
        catalogue = build_catalogue(dataset.items, tokenizer, CONTEXT.item_tokens)
        self.catalogue = catalogue
        self.texts = PairTokenizer(catalogue, tokenizer, CONTEXT)
        self._items = hashlib.sha256(catalogue.tokens.astype("<i4").tobytes()).hexdigest()
        self._base = base
        self._kept = kept
        self._report = report

    def cross_encoder(self, requests: Requests, first: Path) -> Path:
        """Return the folder of the cross-encoder trained on lists of some requests, in float32 and in int8.

        Args:
            requests: Each with its target among the candidates.
            first: Folder of the model that it goes on from.
        """
        title = f"Fine-tuning the cross-encoder on {READER_LISTS:,} lists beside histories"

        def train(work: Path) -> BertForSequenceClassification:
            with self._report.step(title) as step:
                told = lambda done, total, _: step.at(done, total)  # noqa: E731 - a name for one line
                return train_cross_encoder(first, self._lists(requests, READER_LISTS), READER, work, told)

        made_from = [file_sha256(first / WEIGHTS), dataclasses.asdict(READER), READER_LISTS, *self._made_from(requests)]
        folder = self._kept.get("history-cross-encoder", made_from, train)
        if not (folder / INT8).exists():
            with self._report.step("Rounding the cross-encoder"):
                pairs = [one.pairs for one in self._lists(requests, _CALIBRATION_LISTS)]
                quantise(exported_cross_encoder(folder), folder / f"{INT8}.part", pairs)
                (folder / f"{INT8}.part").rename(folder / INT8)
        return folder

    def tower(self, requests: Requests, cross_encoder: Path) -> Path:
        """Return the folder of the tower trained on lists of the same requests, taught by the cross-encoder."""

        def make(folder: Path, work: Path) -> None:
            chosen = late_lists(requests.labelled(), self.texts, lists=TOWER_LISTS, size=LIST_SIZE, seed=READER.seed)
            with self._report.step("Having the cross-encoder teach late interaction") as step:
                examples = distilled(chosen, self.texts, loaded(cross_encoder / INT8), READER_LISTS, step)
            with self._report.step(f"Training late interaction on {len(examples):,} lists beside histories") as step:
                told = lambda done, total, _: step.at(done, total)  # noqa: E731 - a name for one line
                graph = train_late_interaction(self._base.path, examples, self.texts.template, TOWER, work, told)
            save_tower(graph, folder)

        made_from = [
            self._base.sha256,
            cross_encoder.name,
            TOWER_LISTS,
            dataclasses.asdict(TOWER),
            *self._made_from(requests),
        ]
        folder = self._kept.made("history-late-interaction", made_from, make)
        if not (folder / CONTEXT_TOWER_FILE).exists():
            export_late_tower(load_tower(self._base.path, TOWER, folder), folder / TOWER_FILE)
            write_context_tower(folder / TOWER_FILE, folder / CONTEXT_TOWER_FILE)
        return folder

    def _lists(self, requests: Requests, lists: int) -> Iterator[RankingExample]:
        return training_lists(requests.labelled(), self.texts, lists=lists, size=LIST_SIZE, seed=READER.seed)

    def _made_from(self, requests: Requests) -> list[object]:
        return [_FORMAT, requests.fingerprint(), self._items, CONTEXT.model_dump(), LIST_SIZE]


def loaded(file: Path, options: SessionOptions | None = None) -> CrossEncoder:
    """Load a cross-encoder, by default on as many threads as there are cores."""
    return CrossEncoder(OnnxModel(file, options or SessionOptions()))
