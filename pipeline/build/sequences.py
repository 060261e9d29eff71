"""The build of the recipe `sequences`: graphs of its own, and examples by cross-fitting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.model_card import write_model_card
from pipeline.build.ranked import RankedBuild, RankingExamples
from pipeline.learning.examples.fusion import calibration_error
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.learning.fusion.trees import Fusion
from pipeline.learning.item_graphs.builders import Evidence
from pipeline.learning.item_graphs.cross_fitting import Fold, Parted, cross_fit, held_out_users, later_requests, parted
from pipeline.learning.item_graphs.sequences import Sequences, statistics

_FOLDS: Final = 5


_LONGEST: Final = 10


_CHECKED_SHARE: Final = 0.2


class SequenceBuild(RankedBuild):
    """Builds a release from sequences of which only the order need be known."""

    def run(self) -> None:
        """Take every step.

        Raises:
            InvalidRequest: The sequences are too short; int8 is asked for, which needs pairs that are read; or a
                fine-tuned encoder, which needs times.
        """
        self._refuse_compression()
        self._refuse_encoder_training()
        self._refuse_no_events()
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

    def _refuse_encoder_training(self) -> None:
        """Raise InvalidRequest where the encoder is to be fine-tuned.

        Without moments there is no past that everybody shares: the fusion learns from every fold of the sequences, and
        would read what an encoder says of items that it was trained on.
        """
        if self.settings.encoder.epochs:
            raise InvalidRequest(f"the recipe {self.recipe.name} knows no times: leave encoder_epochs at 0")

    def _items(self) -> pl.DataFrame:
        """Every item: one that nobody took is reached by its text."""
        return self.dataset.items

    @property
    def learnt_from(self) -> str:
        """What the models are trained on, for their cards."""
        return "next items of cross-fitted sequences"

    def _gather(self, catalogue: Catalogue, split: Parted) -> RankingExamples:
        """Make examples fold by fold; the last fold is validation, asked of tables of what came before."""
        gathered = RankingExamples()
        self._write_fusion_settings()
        for number, fold in enumerate(self._folds(catalogue, split)):
            if number == 0:
                self._learn_weights(fold.requests)
            last = number == _FOLDS
            checked = held_out_users(fold.users, _CHECKED_SHARE, self.settings.seed) if last else frozenset()
            self._gather_requests(catalogue, fold.requests, [user in checked for user in fold.users], gathered)
        return gathered

    def _folds(self, catalogue: Catalogue, split: Parted) -> Iterator[Fold]:
        """Yield what may be asked, the tables of what was known before it in place; the last fold is validation."""
        for fold in (*cross_fit(split.whole, _FOLDS, _LONGEST, self.settings.seed), later_requests(split, _LONGEST)):
            if not fold.requests:
                raise InvalidRequest("the sequences are too short to learn what comes next from; give longer ones")
            self._write_graphs(catalogue, fold.sequences)
            yield fold

    def _quality(self, _: RankingExamples, checked: RankedExamples, fusion: Fusion) -> dict[str, dict[str, float]]:
        """See `RankedBuild`; NDCG@10 and HR@10 of both stages, what was not found missed; and the calibration."""
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

    def _write_text_graphs(self, catalogue: Catalogue) -> None:
        """Compute the graphs that do not change with what is known of users."""
        self._texts = self._read_texts(catalogue)
        nobody = Sequences.of([], len(catalogue))
        self._compute(self._graphs(text=True), Evidence(nobody, self._texts), "Comparing texts")

    def _write_graphs(self, catalogue: Catalogue, known: Sequence[Sequence[str]]) -> None:
        """Compute graphs and statistics of the known sequences, in place of those that were there."""
        sequences = Sequences.of((catalogue.rows_of(items) for items in known), len(catalogue))
        self._compute(self._graphs(text=False), Evidence(sequences, self._texts), "Computing item graphs")
        for name, values in statistics(sequences, self._texts.kernels["near50"]).items():
            self._write_array(layout.statistic_file(name), values)
        self._write_array(layout.POPULARITY, sequences.events())


def _at_ten(places: Sequence[npt.NDArray[Any]]) -> dict[str, float]:
    """Return NDCG@10 and HR@10 of requests with one target each, from its place, none where it was not found."""
    ranks = np.array([found[0] if len(found) else np.inf for found in places])
    return {
        "ndcg@10": float(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0.0).mean()),  # noqa: PLR2004 - at ten
        "hr@10": float((ranks < 10).mean()),  # noqa: PLR2004 - at ten
    }
