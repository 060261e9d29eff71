"""The models of a search release, trained on some of the judged queries: encoder, cross-encoder, late interaction."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from transformers import BertModel

from common.arrays import Float32Array, TokenIds
from common.ragged import TokenRows
from common.release.catalogue import Catalogue
from pipeline.learning.examples.hard_negatives import mined_negatives
from pipeline.learning.examples.judged_queries import JudgedQuery, fingerprint
from pipeline.learning.examples.late_interaction import LateExample
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.examples.synthetic_queries import QUERIES_PER_LIST, synthetic_queries
from pipeline.learning.examples.text_pairs import score_pairs
from pipeline.learning.trainers.bi_encoder import EncoderExample, train_encoder
from pipeline.learning.trainers.cross_encoder import train_cross_encoder
from pipeline.learning.trainers.distillation import TEACHER_SHARE, train_student
from pipeline.learning.trainers.late_interaction import late_scores, load_tower, save_tower, train_late_interaction
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.learning.training_loop.run import load_trained
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.training_settings import CrossEncoderTraining
from pipeline.release.export.cached_export import loaded_cross_encoder, loaded_encoder
from pipeline.release.models.base_model import BaseModel
from pipeline.release.models.late_interaction_tower import LateTowerGraph
from pipeline.release.models.model_folder import load_model
from pipeline.release.models.tokenizer import plain_tokenizer
from services.ranking.pairs.pair_tokens import PairTemplate, TokenPairs

_FORMAT: Final = 1  # raise it whenever the same settings and judgements train another model than before


class SearchModels:
    """Trains the models and keeps them.

    Args:
        base: The base model.
        settings: How the release is built.
        catalogue: Its items.
        cache: Where trained models are kept.
        report: Shows progress.
    """

    def __init__(
        self,
        base: BaseModel,
        settings: BuildSettings,
        catalogue: Catalogue,
        cache: ModelCache,
        report: ProgressReport,
    ) -> None:
        self._base = base
        self._settings = settings
        self._catalogue = catalogue
        self._cache = cache
        self._report = report
        self._lengths = [settings.context_tokens, settings.item_tokens]
        self._tokenizer: Tokenizer = plain_tokenizer(str(base.path / "tokenizer.json"))
        self._template = PairTemplate.from_tokenizer(self._tokenizer)
        self._items = TokenRows(catalogue.tokens, catalogue.token_offsets.astype(np.int64))

    @property
    def catalogue(self) -> Catalogue:
        """The items."""
        return self._catalogue

    def with_cross_encoder(self, training: CrossEncoderTraining) -> SearchModels:
        """Return the same with another training of the cross-encoder."""
        settings = dataclasses.replace(self._settings, cross_encoder=training)
        return SearchModels(self._base, settings, self._catalogue, self._cache, self._report)

    def encoder(self, queries: Sequence[JudgedQuery]) -> Path:
        """Return the folder of the encoder trained on these queries; the base encoder's if none is to be trained."""
        settings = self._settings.encoder
        if not settings.epochs:
            return self.base_encoder()
        prefixes = [self._settings.query_prefix, self._settings.item_prefix]
        made_from = [*self._made_from(queries), dataclasses.asdict(settings), prefixes]
        return self._trained(
            "encoder",
            queries,
            made_from,
            lambda work, on_step: train_encoder(self._base.path, self._examples(queries), settings, work, on_step),
        )

    def base_encoder(self) -> Path:
        """Return the folder of a copy of the base model, as it is."""
        return self._cache.get("base-encoder", [self._base.sha256], lambda _: load_model(BertModel, self._base.path))

    def cross_encoder(self, queries: Sequence[JudgedQuery]) -> Path:
        """Return the folder of the cross-encoder trained on these queries."""
        settings = self._settings.cross_encoder
        return self._trained(
            "cross-encoder",
            queries,
            self._reader_made_from(queries, settings),
            lambda work, on_step: train_cross_encoder(self._base.path, self.lists(queries), settings, work, on_step),
        )

    def student(self, queries: Sequence[JudgedQuery], layers: int) -> Path:
        """Return the folder of a shallower cross-encoder, distilled from the one trained on these queries."""
        teacher, taught = self._settings.cross_encoder, self._settings.student_training(layers)

        def train(work: Path, on_step: Callable[[int, int, float], None]) -> Any:
            folder = self.cross_encoder(queries)
            by_query = self._by_query(self.logits(folder, queries), queries)
            return train_student(load_trained(folder), self.lists(queries), by_query, taught, work, on_step)

        made_from = [*self._reader_made_from(queries, teacher), dataclasses.asdict(taught), TEACHER_SHARE]
        return self._trained(f"student-{layers}", queries, made_from, train)

    def tower(self, queries: Sequence[JudgedQuery]) -> Path:
        """Return the folder of the late-interaction tower trained on these queries.

        The cross-encoder trained on the same ones teaches it: one that had not seen them would have learnt from the
        queries which this tower is held out for.
        """
        settings = self._settings.late
        taught_by = [dataclasses.asdict(self._settings.cross_encoder), *self._lengths]
        taught_by += [QUERIES_PER_LIST, self._settings.seed, self._settings.query_prefix]
        title = f"Training late interaction on {len(queries):,} queries"

        def make(folder: Path, work: Path) -> None:
            examples = self._taught(queries)
            with self._report.step(title) as step:
                on_step = lambda done, total, _: step.at(done, total)  # noqa: E731 - a name for one line
                graph = train_late_interaction(self._base.path, examples, self._template, settings, work, on_step)
            save_tower(graph, folder)

        made_from = [*self._made_from(queries), dataclasses.asdict(settings), *taught_by]
        return self._cache.made("late-interaction", [_FORMAT, "late-interaction", *made_from], make)

    def loaded_tower(self, folder: Path) -> LateTowerGraph:
        """Return a trained tower."""
        return load_tower(self._base.path, self._settings.late, folder)

    def logits(self, cross_encoder: Path, queries: Sequence[JudgedQuery]) -> Float32Array:
        """Return a trained cross-encoder's logits of judged pairs, query by query; cached in its folder."""

        def read() -> Float32Array:
            with self._report.step(
                "Scoring judged pairs with the cross-encoder", sum(len(one.rows) for one in queries)
            ) as step:
                pairs = [self.pairs(one) for one in queries]
                return np.concatenate(score_pairs(loaded_cross_encoder(cross_encoder), pairs, step))

        return cached_scores(cross_encoder / f"logits-{fingerprint(queries)[:16]}.npy", read)

    def late_scores(self, tower: Path, queries: Sequence[JudgedQuery]) -> Float32Array:
        """Return a trained tower's scores of judged pairs, likewise."""

        def read() -> Float32Array:
            unknown = np.full(sum(len(one.rows) for one in queries), np.nan, np.float32)
            with self._report.step("Scoring judged pairs with late interaction", len(queries)) as step:
                examples = self._late_examples(queries, unknown)
                return late_scores(self.loaded_tower(tower), examples, self._template, step)

        return cached_scores(tower / f"scores-{fingerprint(queries)[:16]}.npy", read)

    def lists(self, queries: Sequence[JudgedQuery]) -> list[RankingExample]:
        """Return what the cross-encoder learns from."""
        return [RankingExample(self.pairs(one), one.grades) for one in queries]

    def pairs(self, one: JudgedQuery) -> TokenPairs:
        """Return the pairs of a query and its items, as the ranking service joins them."""
        items = self._items.take(one.rows, self._settings.item_tokens)
        contexts = TokenRows.from_rows([self._context(one)])
        return self._template.join(contexts, np.zeros(len(items), np.int64), items)

    def _context(self, one: JudgedQuery) -> TokenIds:
        ids = self._tokenizer.encode(one.query, add_special_tokens=False).ids
        return np.array(ids[: self._settings.context_tokens], np.int32)

    @staticmethod
    def _by_query(scores: Float32Array, queries: Sequence[JudgedQuery]) -> list[Float32Array]:
        return np.split(scores, np.cumsum([len(one.rows) for one in queries])[:-1])

    def _late_examples(self, queries: Sequence[JudgedQuery], teacher: Float32Array) -> list[LateExample]:
        return [
            LateExample(
                self._context(one),
                self._items.take(one.rows, self._settings.item_tokens),
                one.grades,
                logits,
            )
            for one, logits in zip(queries, self._by_query(teacher, queries), strict=True)
        ]

    def _taught(self, queries: Sequence[JudgedQuery]) -> list[LateExample]:
        """Return the tower's examples: labels, and the cross-encoder's logits of judged and synthetic queries."""
        teacher = self.cross_encoder(queries)
        made = self._made_queries(queries)
        contexts, said = [self._context(one) for one in made], self._by_query(self.logits(teacher, made), made)
        judged = self._late_examples(queries, self.logits(teacher, queries))
        parts = [slice(start, start + QUERIES_PER_LIST) for start in range(0, len(made), QUERIES_PER_LIST)]
        return [
            dataclasses.replace(one, others=TokenRows.from_rows(contexts[part]), others_teacher=np.stack(said[part]))
            for one, part in zip(judged, parts, strict=True)
        ]

    def _made_queries(self, queries: Sequence[JudgedQuery]) -> list[JudgedQuery]:
        settings = self._settings
        asked = loaded_encoder(self.base_encoder()).encode([settings.query_prefix + one.query for one in queries])
        return synthetic_queries(queries, asked, self._catalogue.text, settings.seed)

    def _examples(self, queries: Sequence[JudgedQuery]) -> list[EncoderExample]:
        mined = self._mine(queries) if self._settings.encoder.mined else [np.empty(0, np.int64)] * len(queries)
        return [self._example(one, rows) for one, rows in zip(queries, mined, strict=True)]

    def _mine(self, queries: Sequence[JudgedQuery]) -> list[npt.NDArray[np.int64]]:
        """Find negatives by the base encoder."""
        settings, encoder = self._settings, loaded_encoder(self.base_encoder())
        asked = encoder.encode([settings.query_prefix + one.query for one in queries])
        items = encoder.encode([settings.item_prefix + text for text in self._catalogue.table["text"].to_pylist()])
        chosen = settings.encoder
        return mined_negatives(queries, asked, items, count=chosen.mined, first=chosen.mined_from)

    def _example(self, one: JudgedQuery, mined: npt.NDArray[np.int64]) -> EncoderExample:
        rows = np.concatenate([one.rows, mined])
        grades = np.concatenate([one.grades, np.full(len(mined), np.nan, np.float32)])
        texts = [self._settings.item_prefix + self._catalogue.text(int(row)) for row in rows]
        query, items = self._with_ends([self._settings.query_prefix + one.query]), self._with_ends(texts)
        return EncoderExample(query, items, grades)

    def _with_ends(self, texts: Sequence[str]) -> TokenRows:
        """Tokenise as the encoder does, each text cut to what the second stage reads of an item."""
        longest = self._settings.item_tokens
        all_ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        return TokenRows.from_rows([[*ids[: min(len(ids) - 1, longest + 1)], ids[-1]] for ids in all_ids])

    def _trained(
        self,
        name: str,
        queries: Sequence[JudgedQuery],
        made_from: Sequence[Any],
        train: Callable[[Path, Callable[[int, int, float], None]], Any],
    ) -> Path:
        title = f"Fine-tuning the {name} on {len(queries):,} queries"

        def trained(work: Path) -> Any:
            with self._report.step(title) as step:
                return train(work, lambda done, total, _: step.at(done, total))

        return self._cache.get(name, [_FORMAT, name, *made_from], trained)

    def _reader_made_from(self, queries: Sequence[JudgedQuery], settings: CrossEncoderTraining) -> list[Any]:
        return [*self._made_from(queries), dataclasses.asdict(settings), self._lengths]

    def _made_from(self, queries: Sequence[JudgedQuery]) -> list[Any]:
        items = hashlib.sha256(self._catalogue.tokens.astype("<i4").tobytes()).hexdigest()
        return [self._base.sha256, fingerprint(queries), items]


def cached_scores(file: Path, compute: Callable[[], Float32Array]) -> Float32Array:
    """Return the scores in a file; if it does not exist, compute and write them."""
    if not file.exists():
        part = file.with_name(f"{file.stem}.part.npy")
        np.save(part, compute())
        part.replace(file)
    scores: Float32Array = np.load(file)
    return scores
