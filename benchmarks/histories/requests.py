"""Requests with a history, their candidates and features: those to learn from, and those of the official test rows.

Those to learn from are the build's own cross-fitted ones: no target stands in the tables that its candidates and
features come from. They are parted by user, so that what reads texts and what fuses share nobody.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from benchmarks.data.amazon_office import test_rows
from common.arrays import RowIndices
from common.ragged import offsets_from_lengths
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import Release
from pipeline.build.context import BuildContext
from pipeline.build.recipes.sequences import sequence_folds
from pipeline.build.steps.first_stage import open_first_stage
from pipeline.build.steps.item_graphs import read_item_texts
from pipeline.build.steps.ranking_examples import feature_set
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import Labelled, draw_candidates
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.learning.item_graphs.cross_fitting import Fold, parted
from pipeline.learning.training.model_cache import ModelCache
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.staging import Staging
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import find_recipe
from pipeline.release.models.base_model import resolve_base_model
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.request import CandidateRows, UserRows
from services.retrieval.candidates.first_stage import FirstStage

CANDIDATES: Final = 100
_READERS: Final = 0.7  # share of the users whose requests rankers of text learn from
_FORMAT: Final = 1  # raise it whenever the same release gives other requests than before
_FILE: Final = "requests.npz"


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests with their candidates, one after the other.

    Attributes:
        users: A number for each user; int64[requests].
        histories: Catalogue rows of each one's history, oldest first.
        rows: Catalogue rows of the candidates, the first stage's best first; int64[candidates].
        examples: Their features, labels, and how many candidates each request has.
    """

    users: RowIndices
    histories: Sequence[RowIndices]
    rows: RowIndices
    examples: RankedExamples

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(cls, users: Sequence[int], drawn: Sequence[Labelled], features: FeatureSet) -> Self:
        """Compute the features of requests that were asked."""
        matrices = [features.matrix(one.user, one.candidates) for one in drawn]
        return cls(
            np.array(users, np.int64),
            [one.user.history for one in drawn],
            np.concatenate([one.candidates.rows for one in drawn]),
            RankedExamples(
                np.concatenate(matrices),
                np.concatenate([one.labels for one in drawn]),
                np.array([len(one.labels) for one in drawn]),
            ),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put requests one after another."""
        return cls(
            np.concatenate([part.users for part in parts]),
            [history for part in parts for history in part.histories],
            np.concatenate([part.rows for part in parts]),
            RankedExamples.join([part.examples for part in parts]),
        )

    def take(self, places: RowIndices) -> Requests:
        """Return some of the requests."""
        ends = np.cumsum(self.examples.sizes)
        kept = np.concatenate([np.arange(ends[one] - self.examples.sizes[one], ends[one]) for one in places])
        examples = self.examples
        return Requests(
            self.users[places],
            [self.histories[one] for one in places],
            self.rows[kept],
            RankedExamples(examples.features[kept], examples.labels[kept], examples.sizes[places]),
        )

    def found(self) -> RowIndices:
        """Return the places of requests whose target is among the candidates."""
        starts = offsets_from_lengths(self.examples.sizes)[:-1]
        return np.flatnonzero(np.add.reduceat(self.examples.labels, starts) > 0)

    def labelled(self) -> list[Labelled]:
        """Return the requests as training reads them: histories, candidates and labels."""
        ends = np.cumsum(self.examples.sizes)[:-1]
        parts = zip(self.histories, np.split(self.rows, ends), np.split(self.examples.labels, ends), strict=True)
        asked = ShopRequest((), "", frozenset())
        return [Labelled(asked, UserRows(history), CandidateRows.of(rows), labels) for history, rows, labels in parts]

    def fingerprint(self) -> str:
        """Return a hash over what the requests are."""
        lengths = np.array([len(history) for history in self.histories])
        known = *self.histories, lengths, self.users, self.rows, self.examples.labels, self.examples.sizes
        return hashlib.sha256(b"".join(part.tobytes() for part in known)).hexdigest()

    def save(self, file: Path) -> None:
        """Write the requests, for `load`."""
        examples = self.examples
        np.savez(
            file,
            users=self.users,
            histories=np.concatenate(self.histories),
            lengths=np.array([len(history) for history in self.histories]),
            rows=self.rows,
            features=examples.features,
            labels=examples.labels,
            sizes=examples.sizes,
        )

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(file) as kept:
            histories = np.split(kept["histories"], np.cumsum(kept["lengths"])[:-1])
            examples = RankedExamples(kept["features"], kept["labels"], kept["sizes"])
            return cls(kept["users"], histories, kept["rows"], examples)


@dataclass(frozen=True)
class Parts:
    """Requests to learn from, whose target was found, by what learns from them; no user is in two parts.

    Attributes:
        readers: For rankers of text.
        fusers: For fusions, which must not learn from what was said of trained lists.
    """

    readers: Requests
    fusers: Requests


def training_requests(
    dataset: Dataset, release: Release, settings: BuildSettings, kept: ModelCache, report: ProgressReport
) -> Parts:
    """Return what may be learned from; asked now (a minute) where it is not kept.

    Args:
        dataset: What is known at training time.
        release: The release built from it.
        settings: Those it was built with.
        kept: Where the requests are kept.
        report: Told of each step.
    """
    made_from = [_FORMAT, release.id, CANDIDATES]

    def make(folder: Path, _: Path) -> None:
        copy = folder / "release"
        shutil.copytree(release.path, copy, dirs_exist_ok=True)
        staging = Staging(copy, release.manifest.data, "", {})
        base_model = resolve_base_model(settings.base_model)
        context = BuildContext(dataset, base_model, settings, settings.made_of(), staging, report)
        _requests_of_folds(context).save(folder / _FILE)
        shutil.rmtree(copy)

    every = Requests.load(kept.made("history-requests", made_from, make) / _FILE)
    return _parts(every.take(every.found()), settings.seed)


def asked_rows(data: Path, release: Release, count: int, report: ProgressReport) -> Requests:
    """Ask the first stage of a release for the candidates of test rows, the same ones each time.

    Args:
        data: Folder of the data.
        release: The release, which knows nothing of the targets.
        count: How many rows; fewer are the first of more.
        report: Told of each chunk.
    """
    rows = test_rows(data)
    chosen = np.random.default_rng(0).permutation(len(rows))[:count]
    asked = [ShopRequest(rows[place].history, "", frozenset(rows[place].relevant)) for place in chosen.tolist()]
    with (
        closing(FirstStage.load(release)) as first_stage,
        report.step("Asking for the test rows' candidates", len(asked)) as step,
    ):
        drawn = draw_candidates(first_stage, asked, CANDIDATES, step)
    catalogue = Catalogue.open(release.file(layout.CATALOGUE))
    return Requests.of(chosen.tolist(), drawn, _features(release, catalogue))


def _features(release: Release, catalogue: Catalogue) -> FeatureSet:
    recipe = find_recipe(release.manifest.settings["recipe"])
    lives = HalfLives(recipe.half_life_long, recipe.half_life_short)
    return FeatureSet(recipe.features, ItemTables(release, catalogue), lives)


def _parts(every: Requests, seed: int) -> Parts:
    """Part requests by user, in a drawn order of users, each one's requests together."""
    users = np.unique(every.users)
    lot = np.empty(users.max() + 1)
    lot[users] = np.random.default_rng(seed).permutation(len(users)) / len(users)
    order = np.argsort(lot[every.users], kind="stable")
    readers = int(np.searchsorted(lot[every.users[order]], _READERS))
    return Parts(every.take(order[:readers]), every.take(order[readers:]))


def _requests_of_folds(context: BuildContext) -> Requests:
    """Ask a copy of a release what its build asked, with the tables of each fold."""
    catalogue = Catalogue.open(context.staging.file(layout.CATALOGUE))
    texts, split = read_item_texts(context, catalogue), parted(context.dataset.events)
    number = {user: place for place, user in enumerate(split.whole)}
    folds = sequence_folds(context, catalogue, texts, split)
    return Requests.join([_requests_of_fold(context, catalogue, fold, number) for fold in folds])


def _requests_of_fold(context: BuildContext, catalogue: Catalogue, fold: Fold, number: Mapping[str, int]) -> Requests:
    title = "Asking for what comes next"
    with open_first_stage(context) as first_stage, context.report.step(title, len(fold.requests)) as step:
        drawn = draw_candidates(first_stage, fold.requests, CANDIDATES, step)
    return Requests.of([number[user] for user in fold.users], drawn, feature_set(context, catalogue))
