"""Writes the tables of behaviour of a staged release, as they were known at a moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.event_weights import WeighedEvents
from pipeline.learning.item_graphs.builders import MAX_ITEMS, TEXT_KINDS, GraphInputs, item_graphs
from pipeline.learning.item_graphs.cross_fitting import split_sequences
from pipeline.learning.item_graphs.demand import demand
from pipeline.learning.item_graphs.purchases import Purchases, popularity, transitions
from pipeline.learning.item_graphs.sequences import Sequences, statistics
from pipeline.learning.item_graphs.text_similarity import ItemTexts
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import GraphSpec
from pipeline.tables.learned_items import GraphItems, events_of_learned


class TableWriter:
    """Counts events and writes tables, in place of earlier ones.

    Args:
        folder: The staged release, with catalogue and vectors.
        settings: How the release is built.
        catalogue: Its items.
        report: Shows progress.
        known: The events that choose the items of tables of all pairs, if the catalogue has too many items.
    """

    def __init__(
        self,
        folder: Path,
        settings: BuildSettings,
        catalogue: Catalogue,
        report: ProgressReport,
        known: pl.DataFrame,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._recipe = settings.resolve_recipe()
        self._catalogue = catalogue
        self._report = report
        self._known = known

    def write_counts(self, events: pl.DataFrame, moment: datetime | None, left_out: Collection[str] = ()) -> None:
        """Write the tables of the recipe.

        Args:
            events: The dataset's events.
            moment: Events from this moment on do not count; None counts all, for events without times.
            left_out: Users whose events do not count.

        Raises:
            InvalidRequest: No item has enough buyers.
        """
        if not self._recipe.needs_events:
            self._write(layout.POPULARITY, np.zeros(len(self._catalogue), np.float32))
        elif moment is None or not self._recipe.windows:
            split = split_sequences(events)
            self.write_sequences(list(split.whole.values()), list(split.weighed.values()))
        elif self._recipe.graphs:
            self._write_demand(self._past(events, moment, left_out), moment)
        else:
            self._write_transitions(self._past(events, moment, left_out), moment)

    def write_all(self, events: pl.DataFrame, moment: datetime | None) -> None:
        """Write the tables as `write_counts` does, and the graphs of texts if they do not have every item."""
        if self._recipe.graphs and not self.graph_items.are_all:
            self.write_text_graphs()
        self.write_counts(events, moment)

    def write_text_graphs(self) -> None:
        """Write the recipe's graphs of texts alone: events do not change them."""
        specs = {name: spec for name, spec in self._recipe.graphs.items() if spec.kind in TEXT_KINDS}
        self._write_graphs(specs, GraphInputs(Sequences.of([], len(self.texts)), self.texts), "Comparing texts")

    def write_sequences(self, known: Sequence[Sequence[str]], weighed: Sequence[WeighedEvents] = ()) -> None:
        """Write graphs, statistics and popularity of sequences of item ids.

        Args:
            known: Item ids of each user, oldest first.
            weighed: What each user's events count; empty if every event counts 1.
        """
        rows = [self._catalogue.rows_of(items) for items in known]
        places = (self.graph_items.places_of(of_user) for of_user in rows)
        inputs = GraphInputs(Sequences.of(places, len(self.texts), weighed), self.texts)
        self._write_graphs(self._event_graphs, inputs, "Computing item graphs")
        whole = Sequences.of(rows, len(self._catalogue), weighed)
        self._write_statistics(statistics(whole, self.graph_items.square(self.texts.kernels["near50"])))
        self._write(layout.POPULARITY, whole.events())

    @cached_property
    def graph_items(self) -> GraphItems:
        """The items of tables of all pairs."""
        return GraphItems.choose(self._catalogue, self._known, self._settings.min_buyers, MAX_ITEMS)

    @cached_property
    def texts(self) -> ItemTexts:
        """The texts of the items of tables of all pairs, with their staged embeddings."""
        rows = self.graph_items.rows
        of_item = np.load(self._folder / layout.VECTOR_OF_ITEM)[rows]
        titles, brands = (self._catalogue.table[name].take(rows).to_pylist() for name in ("title", "brand"))
        vectors = np.load(self._folder / layout.VECTORS)[of_item]
        return ItemTexts(titles, [brand or "" for brand in brands], vectors, self._settings.seed)

    @property
    def _event_graphs(self) -> dict[str, GraphSpec]:
        return {name: spec for name, spec in self._recipe.graphs.items() if spec.kind not in TEXT_KINDS}

    def _past(self, events: pl.DataFrame, moment: datetime, left_out: Collection[str]) -> pl.DataFrame:
        """Return the events before a moment of items with enough buyers then."""
        min_buyers = self._settings.min_buyers
        past = events_of_learned(events.filter(pl.col("timestamp") < moment), min_buyers)
        if past.is_empty():
            raise InvalidRequest(f"no item has {min_buyers} buyers before {moment:%Y-%m-%d}; lower min_buyers")
        return past.filter(~pl.col("user_id").is_in(sorted(left_out))) if left_out else past

    def _write_transitions(self, past: pl.DataFrame, moment: datetime) -> None:
        with self._report.step(f"Counting purchases before {moment:%Y-%m-%d}"):
            items = len(self._catalogue)
            purchases = Purchases.of(past, self._catalogue, moment)
            for name, graph in transitions(purchases, items).items():
                graph.save(self._folder, name)
            self._write(layout.POPULARITY, popularity(purchases, items).buyers)

    def _write_demand(self, past: pl.DataFrame, moment: datetime) -> None:
        items = len(self._catalogue)
        purchases = Purchases.of(past, self._catalogue, moment)
        baskets = purchases.baskets(items)
        known = baskets if self.graph_items.are_all else baskets.of_items(self.graph_items.rows)
        inputs = GraphInputs(Sequences.of([], len(self.texts)), self.texts, known)
        self._write_graphs(self._event_graphs, inputs, f"Counting what was known on {moment:%Y-%m-%d}")
        self._write_statistics(demand(purchases, items))
        self._write(layout.POPULARITY, popularity(purchases, items).buyers)

    def _write_graphs(self, specs: Mapping[str, GraphSpec], inputs: GraphInputs, title: str) -> None:
        with self._report.step(title, len(specs)) as step:
            for name, graph in item_graphs(specs, inputs, self._recipe.neighbours):
                self.graph_items.with_all_rows(graph).save(self._folder, name)
                step.advance()

    def _write_statistics(self, values_of: Mapping[str, npt.NDArray[np.floating[Any]]]) -> None:
        for name, values in values_of.items():
            self._write(layout.statistic_file(name), values)

    def _write(self, name: str, values: npt.NDArray[np.floating[Any]]) -> None:
        file = self._folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # an engine may still map the old file: overwriting it would change what it reads
        np.save(file, values)
