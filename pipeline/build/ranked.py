"""What builds have in common whose recipes make item graphs of their own and learn the order of candidates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.build_steps import BuildSteps
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import Labelled, draw_candidates, learn_source_weights
from pipeline.learning.fusion.lambdamart import RankedExamples, fit_ranking
from pipeline.learning.fusion.trees import Examples, Fusion, calibrate, export_fusion
from pipeline.learning.item_graphs.builders import TEXT_KINDS, Evidence, item_graphs
from pipeline.learning.item_graphs.text_similarity import ItemTexts
from pipeline.progress import ProgressStep
from pipeline.release.config.recipe import GraphSpec
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables

_CHUNK: Final = 32


_WEIGHT_REQUESTS: Final = 1_500


@dataclass
class RankingExamples:
    """What the fusion learns from.

    Attributes:
        learnt: Examples of everybody who is not checked on.
        checked: Validation users who calibrate and judge, with every candidate, as it is served.
        checked_last: The same as examples to learn from, for the trees that are served.
        labelled: Some requests with their candidates, for the cross-encoder.
        judged: The requests of the users checked.
    """

    learnt: list[RankedExamples] = field(default_factory=list)
    checked: list[RankedExamples] = field(default_factory=list)
    checked_last: list[RankedExamples] = field(default_factory=list)
    labelled: list[Labelled] = field(default_factory=list)
    judged: list[Labelled] = field(default_factory=list)


class RankedBuild(BuildSteps):
    """Builds a release whose tables are counted anew for every set of requests that is learned from."""

    @abstractmethod
    def _quality(
        self, gathered: RankingExamples, checked: RankedExamples, fusion: Fusion
    ) -> dict[str, dict[str, float]]:
        """Judge the users checked on."""

    def _gather_requests(
        self,
        catalogue: Catalogue,
        requests: Sequence[ShopRequest],
        checked: Sequence[bool],
        gathered: RankingExamples,
        title: str = "Asking for what comes next",
    ) -> None:
        """Find the candidates of requests by the tables that are there now, and compute their features.

        Args:
            catalogue: The items.
            requests: The requests.
            checked: Of each, whether its user calibrates and judges.
            gathered: What was gathered before, and is added to.
            title: What the step is called.
        """
        features, limit = self._features(catalogue), self.settings.candidates
        with self._first_stage() as first_stage, self.report.step(title, len(requests)) as step:
            for start in range(0, len(requests), _CHUNK):
                drawn = draw_candidates(first_stage, requests[start : start + _CHUNK], limit, step)
                for example, its in zip(drawn, checked[start : start + _CHUNK], strict=True):
                    self._keep(gathered, features, example, checked=its)
        if len(gathered.learnt) > 1:
            gathered.learnt = [RankedExamples.join(gathered.learnt)]

    def _keep(self, gathered: RankingExamples, features: FeatureSet, example: Labelled, *, checked: bool) -> None:
        learned = self.recipe.learned
        if not checked and not example.labels[:learned].any():
            return
        matrix = features.matrix(example.user, example.candidates)
        best = RankedExamples(matrix[:learned], example.labels[:learned], np.array([min(len(matrix), learned)]))
        if not checked:
            gathered.learnt.append(best)
            gathered.labelled.append(example)
            return
        gathered.checked.append(RankedExamples(matrix, example.labels, np.array([len(matrix)])))
        gathered.judged.append(example)
        if best.labels.any():
            gathered.checked_last.append(best)

    def _learn_weights(self, asked: Sequence[ShopRequest]) -> None:
        chosen = np.random.default_rng(self.settings.seed).permutation(len(asked))[:_WEIGHT_REQUESTS]
        requests = [asked[place] for place in np.sort(chosen)]
        with (
            self._first_stage() as first_stage,
            self.report.step("Learning the sources' weights", len(requests)) as step,
        ):
            drawn = draw_candidates(first_stage, requests, self.settings.candidates, step)
            self._write_retrieval(learn_source_weights(drawn, first_stage.sources))

    def _fuse(self, gathered: RankingExamples) -> npt.NDArray[np.float64]:
        """Calibrate and judge trees that saw nothing of the users checked on, then learn from those users too.

        The trees that are served keep the first ones' calibration: their scores have the same scale, and no users are
        left over to calibrate them on. Returns the probabilities that the first ones gave the users checked.
        """
        whole = RankedExamples.join(gathered.checked)
        if not whole.labels.any():
            raise InvalidRequest("no validation user took a candidate, so nothing can be calibrated")
        if self.examples_to is not None:
            gathered.learnt[0].save(self.examples_to / "learnt.npz")
            whole.save(self.examples_to / "checked.npz")
        checked = Examples(whole.features, whole.labels)
        with self.report.step("Fitting and calibrating on held-out users") as step:
            judged = calibrate(self._fit(gathered.learnt[0], step), checked)
            self.staging.metrics["validation"] = self._quality(gathered, whole, judged)
        learnt = RankedExamples.join([*gathered.learnt, *gathered.checked_last])
        with self.report.step("Fitting the fusion to everybody") as step:
            boosters = self._fit(learnt, step)
            fusion = Fusion(tuple(boosters), judged.slope, judged.intercept)
            worst = export_fusion(fusion, self.staging.file(layout.FUSION), checked.features)
        self.staging.models["fusion"] = self._fusion_card(f"{len(learnt.sizes)} requests of {self.learnt_from}", worst)
        return judged.probability(checked.features)

    def _fit(self, examples: RankedExamples, step: ProgressStep) -> list[lgb.Booster]:
        seeds = range(self.settings.seed, self.settings.seed + self.settings.bag)
        recipe, trees = self.recipe, self.settings.trees
        return fit_ranking(
            examples, recipe.features, recipe.falling, seeds=seeds, trees=trees, step=step, growing=recipe.growing
        )

    def _graphs(self, *, text: bool) -> dict[str, GraphSpec]:
        """Return the recipe's graphs that do not change with what is known of users, or those that do."""
        return {name: spec for name, spec in self.recipe.graphs.items() if (spec.kind in TEXT_KINDS) == text}

    def _compute(self, specs: Mapping[str, GraphSpec], evidence: Evidence, title: str) -> None:
        with self.report.step(title, len(specs)) as step:
            for name, graph in item_graphs(specs, evidence, self.recipe.neighbours):
                graph.save(self.staging.path, name)
                step.advance()

    def _read_texts(self, catalogue: Catalogue) -> ItemTexts:
        vectors = np.load(self.staging.file(layout.VECTORS))[np.load(self.staging.file(layout.VECTOR_OF_ITEM))]
        titles, brands = (catalogue.table[name].to_pylist() for name in ("title", "brand"))
        return ItemTexts(titles, [brand or "" for brand in brands], vectors, self.settings.seed)

    def _features(self, catalogue: Catalogue) -> FeatureSet:
        lives = HalfLives(self.recipe.half_life_long, self.recipe.half_life_short)
        return FeatureSet(self.recipe.features, ItemTables(self.staging.release(), catalogue), lives)

    def _refuse_compression(self) -> None:
        """Raise InvalidRequest where the cross-encoder is to be compressed, which needs pairs that are read."""
        if self.settings.compressed:
            raise InvalidRequest(
                f"the recipe {self.recipe.name} reads no pairs: leave precision at fp32, the vocabulary whole, and ask "
                "for no student"
            )
