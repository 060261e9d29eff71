"""The build of the recipe `seasons`: tables as they were known at each moment that is learned at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.baskets import catalogue_items
from pipeline.build.model_card import write_model_card
from pipeline.build.ranked import RankedBuild, RankingExamples
from pipeline.data.dataset.training_requests import (
    ShopRequest,
    TrainingSnapshot,
    Windows,
    draw_seasons,
    simulate_cold_start,
)
from pipeline.learning.examples.fusion import calibration_error, ndcg_by_kind
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.learning.fusion.trees import Fusion
from pipeline.learning.item_graphs.builders import Evidence
from pipeline.learning.item_graphs.demand import demand
from pipeline.learning.item_graphs.purchases import Purchases, popularity
from pipeline.learning.item_graphs.sequences import Sequences

# Moments to learn at before validation, each a window after the one before.
MOMENTS: Final = 5


# Of users; as many as that are met as if nothing was counted of them.
LEFT_OUT: Final = 1 / 3


class SeasonBuild(RankedBuild):
    """Builds a release from purchases with times in a shop whose demand moves.

    Tables that end before everything that is learned from would be months old when they are served. Here they are
    counted at each moment anew, from what came before it, and once more at the end, from what came before the test.
    """

    @cached_property
    def windows(self) -> Windows:
        """The moments that part the events."""
        return Windows.of(self.dataset.events, self.settings.window_days, MOMENTS)

    @property
    def learnt_from(self) -> str:
        """What the models are trained on, for their cards."""
        return f"what users bought before {self.windows.test:%Y-%m-%d}"

    def run(self) -> None:
        """Take every step.

        Raises:
            InvalidRequest: The events leave no room for the moments, or nobody to learn from; or int8 is asked for,
                which needs pairs that are read.
        """
        self._refuse_compression()
        self._refuse_no_events()
        catalogue = self._write_catalogue()
        self._export_encoder()
        self._index(catalogue)
        self._train_encoder(catalogue, self.windows)
        self._texts = self._read_texts(catalogue)
        nobody = Sequences.of([], len(catalogue))
        self._compute(self._graphs(text=True), Evidence(nobody, self._texts), "Comparing texts")
        gathered = self._gather(catalogue)
        self._train_cross_encoder(catalogue, gathered.labelled, gathered.judged)
        probability = self._fuse(gathered)
        self._count(catalogue, self.windows.test, ())
        write_model_card(self.staging, catalogue, gathered.judged, probability)

    def _items(self) -> pl.DataFrame:
        return catalogue_items(self.dataset, self.windows.test, self.settings.min_buyers)

    def _gather(self, catalogue: Catalogue) -> RankingExamples:
        """Make examples moment by moment, the last of which is validation."""
        gathered = RankingExamples()
        self._write_retrieval({})
        self._write_fusion_settings()
        titles = dict(zip(catalogue.item_ids, catalogue.table["title"].to_pylist(), strict=True))
        for number, season in enumerate(self._seasons()):
            requests = self._met(season, titles, number)
            self._count(catalogue, season.moment, season.left_out)
            if number == 0:
                self._learn_weights(requests)
            title = f"Asking for what comes after {season.moment:%Y-%m-%d}"
            self._gather_requests(catalogue, requests, season.checked, gathered, title)
        if not gathered.learnt or not gathered.checked:
            raise InvalidRequest("the events leave nobody to learn from; choose other windows")
        return gathered

    def _seasons(self) -> Sequence[TrainingSnapshot]:
        settings = self.settings
        with self.report.step("Drawing users to learn from"):
            return draw_seasons(
                self.dataset.events,
                self.windows,
                requests=settings.training_requests,
                valid=settings.valid_users,
                test=settings.test_users,
                left_out=LEFT_OUT,
                seed=settings.seed,
            )

    def _met(self, season: TrainingSnapshot, titles: dict[str, str], number: int) -> list[ShopRequest]:
        settings = self.settings
        return simulate_cold_start(
            season.requests,
            titles,
            searches=settings.query_share,
            newcomers=settings.newcomer_share,
            seed=settings.seed + number,
        )

    def _count(self, catalogue: Catalogue, moment: datetime, left_out: Collection[str]) -> None:
        """Count graphs and statistics of what some users bought before a moment, in place of those that were there."""
        time, user_id = pl.col("timestamp"), pl.col("user_id")
        past = self.dataset.events.filter((time < moment) & ~user_id.is_in(sorted(left_out)))
        purchases, items = Purchases.of(past, catalogue, moment), len(catalogue)
        evidence = Evidence(Sequences.of([], items), self._texts, purchases.baskets(items))
        self._compute(self._graphs(text=False), evidence, f"Counting what was known on {moment:%Y-%m-%d}")
        for name, values in demand(purchases, items).items():
            self._write_array(layout.statistic_file(name), values)
        self._write_array(layout.POPULARITY, popularity(purchases, items).buyers)

    def _quality(
        self, gathered: RankingExamples, checked: RankedExamples, fusion: Fusion
    ) -> dict[str, dict[str, float]]:
        """See `RankedBuild`; NDCG@10 of both stages by what is known of a user, and the calibration."""
        probability = fusion.probability(checked.features)
        ends = np.cumsum(checked.sizes)[:-1]
        first = [-np.arange(size, dtype=np.float64) for size in checked.sizes.tolist()]
        return {
            "first stage": ndcg_by_kind(gathered.judged, first),
            "fusion": ndcg_by_kind(gathered.judged, np.split(probability, ends)),
            "calibration": {"expected calibration error": calibration_error(probability, checked.labels)},
        }
