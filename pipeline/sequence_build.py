"""The build of the recipe `sequences`: graphs of its own, and examples by cross-fitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import polars as pl

from common import layout
from common.catalogue import Catalogue
from common.errors import InvalidRequest
from common.release import ModelCard
from pipeline.build_steps import BuildSteps
from pipeline.model_card import write_model_card
from pipeline.progress import Step
from pipeline.recipe import GraphSpec, Recipe
from pipeline.train.candidates import Labelled, draw_candidates, learn_source_weights
from pipeline.train.cross_fit import Fold, Parted, cross_fit, held_out_people, later_requests, parted
from pipeline.train.fusion import Examples, Fusion, calibrate, export_fusion
from pipeline.train.fusion_examples import calibration_error
from pipeline.train.graphs import Evidence, item_graphs
from pipeline.train.item_texts import ItemTexts
from pipeline.train.ranking_trees import RankedExamples, fit_ranking
from pipeline.train.sequences import Sequences, statistics
from services.ranking.features import Features
from services.ranking.item_facts import ItemFacts
from services.ranking.situation import HalfLives

_FOLDS: Final = 5
_LONGEST: Final = 10
_CHUNK: Final = 32
# The trees learn the order of so many of the best candidates of a request; serving ranks more.
_LEARNED: Final = 100
_WEIGHT_REQUESTS: Final = 1_500
_CHECKED_SHARE: Final = 0.2


@dataclass
class Gathered:
    """What the fusion learns from.

    Attributes:
        learnt: Examples of the folds, and of validation people who are not checked on.
        checked: Validation people who calibrate and judge, with every candidate, as it is served.
        checked_last: The same as examples to learn from, for the trees that are served.
        judged: The requests of the people checked.
        labelled: Some requests with their candidates, for the cross-encoder.
    """

    learnt: list[RankedExamples] = field(default_factory=list)
    checked: list[RankedExamples] = field(default_factory=list)
    checked_last: list[RankedExamples] = field(default_factory=list)
    labelled: list[Labelled] = field(default_factory=list)
    judged: list[Labelled] = field(default_factory=list)


class SequenceBuild(BuildSteps):
    """Builds a release from sequences of which only the order need be known."""

    def run(self) -> None:
        """Take every step.

        Raises:
            InvalidRequest: The sequences are too short, or int8 is asked for, which needs pairs that are read.
        """
        if self.settings.precision != "fp32":
            raise InvalidRequest(f"the recipe {self.recipe.name} reads no pairs: leave precision at fp32")
        catalogue = self._write_catalogue()
        self._export_encoder()
        self._index(catalogue)
        self._write_text_graphs(catalogue)
        split = parted(self.dataset.events)
        self._write_retrieval({})
        gathered = self._gather(catalogue, split)
        self._train_cross_encoder(catalogue, gathered.labelled, gathered.judged)
        probability = self._fuse(gathered)
        self._write_graphs(catalogue, list(split.whole.values()))
        write_model_card(self.staging, catalogue, gathered.judged, probability)

    def _items(self) -> pl.DataFrame:
        """Every item: one that nobody took is reached by its text."""
        return self.dataset.items

    @property
    def learnt_from(self) -> str:
        """What the models are trained on, for their cards."""
        return "next items of cross-fitted sequences"

    def _gather(self, catalogue: Catalogue, split: Parted) -> Gathered:
        """Make examples fold by fold; the last fold is validation, asked of tables of what came before."""
        gathered = Gathered()
        self._write_fusion_settings()
        folds = [*cross_fit(split.whole, _FOLDS, _LONGEST, self.settings.seed), later_requests(split, _LONGEST)]
        for number, fold in enumerate(folds):
            if not fold.requests:
                raise InvalidRequest("the sequences are too short to learn what comes next from; give longer ones")
            self._write_graphs(catalogue, fold.sequences)
            if number == 0:
                self._learn_weights(fold)
            self._gather_fold(catalogue, fold, gathered, last=number == len(folds) - 1)
        return gathered

    def _gather_fold(self, catalogue: Catalogue, fold: Fold, gathered: Gathered, *, last: bool) -> None:
        features = self._features(catalogue)
        checked = held_out_people(fold.people, _CHECKED_SHARE, self.settings.seed) if last else frozenset()
        limit = self.settings.candidates
        with (
            self._first_stage() as first_stage,
            self.report.step("Asking for what comes next", len(fold.requests)) as step,
        ):
            for start in range(0, len(fold.requests), _CHUNK):
                drawn = draw_candidates(first_stage, fold.requests[start : start + _CHUNK], limit, step)
                for person, example in zip(fold.people[start : start + _CHUNK], drawn, strict=True):
                    self._keep(gathered, features, example, checked=person in checked)
        if last:
            gathered.learnt = [RankedExamples.join(gathered.learnt)]

    def _keep(self, gathered: Gathered, features: Features, example: Labelled, *, checked: bool) -> None:
        if not checked and not example.labels[:_LEARNED].any():
            return
        matrix = features.matrix(example.person, example.candidates)
        whole = RankedExamples(matrix, example.labels, np.array([len(matrix)]))
        best = RankedExamples(matrix[:_LEARNED], example.labels[:_LEARNED], np.array([min(len(matrix), _LEARNED)]))
        if not checked:
            gathered.learnt.append(best)
            gathered.labelled.append(example)
            return
        gathered.checked.append(whole)
        gathered.judged.append(example)
        if best.labels.any():
            gathered.checked_last.append(best)

    def _learn_weights(self, fold: Fold) -> None:
        chosen = np.random.default_rng(self.settings.seed).permutation(len(fold.requests))[:_WEIGHT_REQUESTS]
        requests = [fold.requests[place] for place in np.sort(chosen)]
        with (
            self._first_stage() as first_stage,
            self.report.step("Learning the sources' weights", len(requests)) as step,
        ):
            drawn = draw_candidates(first_stage, requests, self.settings.candidates, step)
            self._write_retrieval(learn_source_weights(drawn, first_stage.sources))

    def _fuse(self, gathered: Gathered) -> npt.NDArray[np.float64]:
        """Calibrate and judge trees that saw nothing of the people checked on, then learn from those people too.

        The trees that are served keep the first ones' calibration: their scores have the same scale, and no people are
        left over to calibrate them on. Returns the probabilities that the first ones gave the people checked.
        """
        whole = RankedExamples.join(gathered.checked)
        if self.examples_to is not None:
            gathered.learnt[0].save(self.examples_to / "learnt.npz")
            whole.save(self.examples_to / "checked.npz")
        checked = Examples(whole.features, whole.labels)
        with self.report.step("Fitting and calibrating on held-out people") as step:
            trial = self._fit(gathered.learnt[0], step)
            judged = calibrate(trial, checked)
            self.staging.metrics["validation"] = _quality(whole, judged)
        learnt = RankedExamples.join([*gathered.learnt, *gathered.checked_last])
        with self.report.step("Fitting the fusion to everybody") as step:
            boosters = self._fit(learnt, step)
            fusion = Fusion(tuple(boosters), judged.slope, judged.intercept)
            worst = export_fusion(fusion, self.staging.file(layout.FUSION), checked.features)
        self.staging.models["fusion"] = ModelCard(
            file=layout.FUSION,
            precision="fp32",
            base_model="LightGBM",
            base_model_origin="fitted here",
            trained_on=f"{len(learnt.sizes)} requests of {self.learnt_from}",
            parity_max_abs_error=worst,
        )
        return judged.probability(checked.features)

    def _fit(self, examples: RankedExamples, step: Step) -> list[lgb.Booster]:
        seeds = range(self.settings.seed, self.settings.seed + self.settings.bag)
        names, falling = self.recipe.features, self.recipe.falling
        return fit_ranking(examples, names, falling, seeds=seeds, trees=self.settings.trees, step=step)

    def _write_text_graphs(self, catalogue: Catalogue) -> None:
        """Compute the graphs that do not change with what is known of people."""
        self._texts = self._read_texts(catalogue)
        self._compute(_of_kind(self.recipe, text=True), Sequences.of([], len(catalogue)), "Comparing texts")

    def _write_graphs(self, catalogue: Catalogue, known: Sequence[Sequence[str]]) -> None:
        """Compute graphs and statistics of the known sequences, in place of those that were there."""
        sequences = Sequences.of((catalogue.rows_of(items) for items in known), len(catalogue))
        self._compute(_of_kind(self.recipe, text=False), sequences, "Computing item graphs")
        for name, values in statistics(sequences, self._texts.kernels["near50"]).items():
            self._write_array(layout.statistic_file(name), values)
        self._write_array(layout.POPULARITY, sequences.events())

    def _compute(self, specs: Mapping[str, GraphSpec], sequences: Sequences, title: str) -> None:
        with self.report.step(title, len(specs)) as step:
            for name, graph in item_graphs(specs, Evidence(sequences, self._texts), self.recipe.neighbours):
                graph.save(self.staging.path, name)
                step.advance()

    def _read_texts(self, catalogue: Catalogue) -> ItemTexts:
        vectors = np.load(self.staging.file(layout.VECTORS))[np.load(self.staging.file(layout.VECTOR_OF_ITEM))]
        titles, brands = (catalogue.table[name].to_pylist() for name in ("title", "brand"))
        return ItemTexts(titles, [brand or "" for brand in brands], vectors, self.settings.seed)

    def _features(self, catalogue: Catalogue) -> Features:
        lives = HalfLives(self.recipe.half_life_long, self.recipe.half_life_short)
        return Features(self.recipe.features, ItemFacts(self.staging.release(), catalogue), lives)

    def _write_array(self, name: str, values: npt.NDArray[np.float32]) -> None:
        file = self.staging.file(name)
        file.unlink(missing_ok=True)  # it may be mapped
        np.save(file, values)


def _of_kind(recipe: Recipe, *, text: bool) -> dict[str, GraphSpec]:
    return {name: spec for name, spec in recipe.graphs.items() if (spec.kind == "text") == text}


def _quality(checked: RankedExamples, fusion: Fusion) -> dict[str, dict[str, float]]:
    """Measure held-out people: NDCG@10 and HR@10 of both stages, what was not found missed; and the calibration."""
    probability = fusion.probability(checked.features)
    ends = np.cumsum(checked.sizes)[:-1]
    labels = np.split(checked.labels, ends)
    first = [np.flatnonzero(found) for found in labels]
    second = [
        np.flatnonzero(found[np.argsort(-values, kind="stable")])
        for found, values in zip(labels, np.split(probability, ends), strict=True)
    ]
    error = calibration_error(probability, checked.labels)
    return {
        "first stage": _at_ten(first),
        "fusion": _at_ten(second),
        "calibration": {"expected calibration error": error},
    }


def _at_ten(places: Sequence[npt.NDArray[Any]]) -> dict[str, float]:
    """Return NDCG@10 and HR@10 of requests with one target each, from its place, none where it was not found."""
    ranks = np.array([found[0] if len(found) else np.inf for found in places])
    return {
        "ndcg@10": float(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0).mean()),  # noqa: PLR2004 - at ten
        "hr@10": float((ranks < 10).mean()),  # noqa: PLR2004 - at ten
    }
