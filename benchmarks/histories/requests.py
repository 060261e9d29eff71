"""Requests with a history, their candidates and features: those to learn from, and those of the official test rows.

Those to learn from are the build's own cross-fitted ones: no target is in the tables that its candidates and features
come from. They are split by user, so that text rankers and fusions share no user.
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

from benchmarks.data.amazon_office import test_questions
from common.arrays import RowIndices
from common.ragged import offsets_from_lengths
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import Release
from pipeline.build.context import BuildContext
from pipeline.build.recipes.sequences import learned_sequences, sequence_folds
from pipeline.build.steps.first_stage import open_first_stage
from pipeline.build.steps.ranking_examples import feature_set
from pipeline.build.steps.tables import table_writer
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import LabelledCandidates, label_candidates
from pipeline.learning.fusion.lambdamart import RankedExamples
from pipeline.learning.item_graphs.cross_fitting import Fold
from pipeline.learning.trainers.model_cache import ModelCache
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
_TEXT_RANKER_SHARE: Final = 0.7  # share of the users whose requests text rankers learn from
_FORMAT: Final = 1  # raise it if the same release gives other requests than before
_FILE: Final = "requests.npz"


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests with their candidates, one after the other.

    Attributes:
        users: The number of the user; int64[requests].
        histories: Catalogue rows of each history, oldest first.
        rows: Catalogue rows of the candidates, in the first stage's order; int64[candidates].
        examples: Features and labels of the candidates, and the number of candidates of each request.
    """

    users: RowIndices
    histories: Sequence[RowIndices]
    rows: RowIndices
    examples: RankedExamples

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def from_candidates(
        cls, users: Sequence[int], retrieved: Sequence[LabelledCandidates], features: FeatureSet
    ) -> Self:
        """Compute the features of retrieved candidates."""
        matrices = [features.matrix(one.user, one.candidates) for one in retrieved]
        return cls(
            np.array(users, np.int64),
            [one.user.history for one in retrieved],
            np.concatenate([one.candidates.rows for one in retrieved]),
            RankedExamples(
                np.concatenate(matrices),
                np.concatenate([one.labels for one in retrieved]),
                np.array([len(one.labels) for one in retrieved]),
            ),
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Concatenate requests."""
        return cls(
            np.concatenate([part.users for part in parts]),
            [history for part in parts for history in part.histories],
            np.concatenate([part.rows for part in parts]),
            RankedExamples.join([part.examples for part in parts]),
        )

    def select(self, numbers: RowIndices) -> Requests:
        """Return some of the requests."""
        ends = np.cumsum(self.examples.sizes)
        kept = np.concatenate([np.arange(ends[one] - self.examples.sizes[one], ends[one]) for one in numbers])
        examples = self.examples
        return Requests(
            self.users[numbers],
            [self.histories[one] for one in numbers],
            self.rows[kept],
            RankedExamples(examples.features[kept], examples.labels[kept], examples.sizes[numbers]),
        )

    def with_target(self) -> RowIndices:
        """Return the numbers of the requests whose target is a candidate."""
        starts = offsets_from_lengths(self.examples.sizes)[:-1]
        return np.flatnonzero(np.add.reduceat(self.examples.labels, starts) > 0)

    def labelled(self) -> list[LabelledCandidates]:
        """Return histories, candidates and labels as training reads them."""
        ends = np.cumsum(self.examples.sizes)[:-1]
        parts = zip(self.histories, np.split(self.rows, ends), np.split(self.examples.labels, ends), strict=True)
        requests = ShopRequest((), "", frozenset())
        return [
            LabelledCandidates(requests, UserRows(history), CandidateRows.from_rows(rows), labels)
            for history, rows, labels in parts
        ]

    def fingerprint(self) -> str:
        """Return a hash of the requests."""
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
class TrainingSplit:
    """Training requests whose target is a candidate, by what learns from them; no user is in both parts.

    Attributes:
        text_rankers: Requests for text rankers.
        fusions: Requests for fusions, which must not learn from scores of lists that text rankers were trained on.
    """

    text_rankers: Requests
    fusions: Requests


def training_requests(
    dataset: Dataset, release: Release, settings: BuildSettings, cache: ModelCache, report: ProgressReport
) -> TrainingSplit:
    """Return the training requests; they are retrieved (a minute) unless cached.

    Args:
        dataset: The training part.
        release: The release built from it.
        settings: The settings of the build.
        cache: Retrieved requests.
        report: Shows each step.
    """
    inputs = [_FORMAT, release.id, CANDIDATES]

    def make(folder: Path, _: Path) -> None:
        copy = folder / "release"
        shutil.copytree(release.path, copy, dirs_exist_ok=True)
        staging = Staging(copy, release.manifest.data, "", {})
        base_model = resolve_base_model(settings.base_model)
        context = BuildContext(dataset, base_model, settings, settings.resolve_recipe(), staging, report)
        _requests_of_folds(context).save(folder / _FILE)
        shutil.rmtree(copy)

    every = Requests.load(cache.made("history-requests", inputs, make) / _FILE)
    return _split_by_user(every.select(every.with_target()), settings.seed)


def test_requests(data: Path, release: Release, count: int, report: ProgressReport) -> Requests:
    """Retrieve the candidates of test rows from the first stage of a release, the same rows each time.

    Args:
        data: The folder of the data.
        release: The release, which does not know the targets.
        count: The number of rows; a smaller number takes the first of them.
        report: Shows each chunk.
    """
    rows = test_questions(data)
    chosen = np.random.default_rng(0).permutation(len(rows))[:count]
    requests = [ShopRequest(rows[row].history, "", frozenset(rows[row].relevant)) for row in chosen.tolist()]
    with (
        closing(FirstStage.load(release)) as first_stage,
        report.step("Retrieving the candidates of test rows", len(requests)) as step,
    ):
        retrieved = label_candidates(first_stage, requests, CANDIDATES, step)
    catalogue = Catalogue.open(release.file(layout.CATALOGUE))
    return Requests.from_candidates(chosen.tolist(), retrieved, _features(release, catalogue))


def _features(release: Release, catalogue: Catalogue) -> FeatureSet:
    recipe = find_recipe(release.manifest.settings["recipe"])
    lives = HalfLives(recipe.half_life_long, recipe.half_life_short)
    return FeatureSet(recipe.features, ItemTables(release, catalogue), lives)


def _split_by_user(every: Requests, seed: int) -> TrainingSplit:
    """Split requests by user, in a random order of users."""
    users = np.unique(every.users)
    rank = np.empty(users.max() + 1)
    rank[users] = np.random.default_rng(seed).permutation(len(users)) / len(users)
    order = np.argsort(rank[every.users], kind="stable")
    text_rankers = int(np.searchsorted(rank[every.users[order]], _TEXT_RANKER_SHARE))
    return TrainingSplit(every.select(order[:text_rankers]), every.select(order[text_rankers:]))


def _requests_of_folds(context: BuildContext) -> Requests:
    """Repeat the build's requests in a copy of a release, with the tables of each fold."""
    catalogue = Catalogue.open(context.staging.file(layout.CATALOGUE))
    split, _ = learned_sequences(context)
    numbers = {user: number for number, user in enumerate(split.whole)}
    folds = sequence_folds(table_writer(context, catalogue), split, context.settings.seed)
    return Requests.join([_requests_of_fold(context, catalogue, fold, numbers) for fold in folds])


def _requests_of_fold(context: BuildContext, catalogue: Catalogue, fold: Fold, numbers: Mapping[str, int]) -> Requests:
    title = "Retrieving candidates of training requests"
    with open_first_stage(context) as first_stage, context.report.step(title, len(fold.requests)) as step:
        retrieved = label_candidates(first_stage, fold.requests, CANDIDATES, step)
    return Requests.from_candidates([numbers[user] for user in fold.users], retrieved, feature_set(context, catalogue))
