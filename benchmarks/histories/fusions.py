"""The recipe's trees over behaviour, with and without the scores of text rankers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from benchmarks.histories.requests import Requests
from common.arrays import Float32Array
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import Release
from pipeline.learning.fusion.lambdamart import RankedExamples, fit_ranking
from pipeline.learning.fusion.trees import raw_score
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEQUENCES
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables

_LATE: Final = SEQUENCES.late_features
_LOGIT: Final = ("logit", "logit_rank", "logit_deviation")
# A rank is 0 for the best.
_DECREASING: Final = SEQUENCES.non_increasing_features | {"late_rank", "logit_rank"}
NO_TEXT: Final = "no text"
WITH_LATE: Final = "late interaction"
WITH_CROSS_ENCODER: Final = "cross-encoder"
WITH_BOTH: Final = "both"
FUSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    NO_TEXT: (),
    WITH_LATE: _LATE,
    WITH_CROSS_ENCODER: _LOGIT,
    WITH_BOTH: (*_LATE, *_LOGIT),
}
_FORMAT: Final = 1  # raise it if the same requests give other trees than before


@dataclass(frozen=True, eq=False)
class TextScores:
    """The text rankers' scores of every candidate, one request after the other.

    Attributes:
        late: Late interaction's scores; float32[candidates].
        logits: The cross-encoder's logits; float32[candidates].
    """

    late: Float32Array
    logits: Float32Array


class TextFeatures:
    """Joins the scores of text rankers with the features of behaviour, as the ranking service does."""

    def __init__(self, release: Release) -> None:
        catalogue = Catalogue.open(release.file(layout.CATALOGUE))
        self._features = FeatureSet((*_LATE, *_LOGIT), ItemTables(release, catalogue))

    def with_text(self, requests: Requests, text: TextScores) -> RankedExamples:
        """Return the requests' examples with every feature of text."""
        examples, ends = requests.examples, np.cumsum(requests.examples.sizes)[:-1]
        parts = zip(np.split(text.late, ends), np.split(text.logits, ends), strict=True)
        of_text = np.concatenate([self._of_request(late, logits) for late, logits in parts])
        return RankedExamples(np.concatenate([examples.features, of_text], axis=1), examples.labels, examples.sizes)

    def _of_request(self, late: Float32Array, logits: Float32Array) -> Float32Array:
        blank = np.full((len(late), len(self._features.names)), np.nan, np.float32)
        return self._features.with_logits(self._features.with_late(blank, late), logits)


def fitted_fusions(
    examples: RankedExamples, settings: BuildSettings, cache: ModelCache, report: ProgressReport
) -> dict[str, list[lgb.Booster]]:
    """Return the boosters of each of `FUSIONS`, with the recipe's parameters; they are fitted unless cached.

    Args:
        examples: Requests that no text ranker learnt from, with every feature; see `TextFeatures`.
        settings: The number of trees and boosters.
        cache: Fitted boosters.
        report: Shows each fit.
    """
    digest = hashlib.sha256(b"".join(getattr(examples, name).tobytes() for name in ("features", "labels", "sizes")))

    def make(folder: Path, _: Path) -> None:
        seeds = range(settings.seed, settings.seed + settings.boosters)
        for name in FUSIONS:
            columns = _columns(name)
            with report.step(f"Fitting the fusion with {name}") as step:
                boosters = fit_ranking(
                    examples.columns(columns),
                    [_FEATURES[column] for column in columns],
                    _DECREASING,
                    seeds=seeds,
                    trees=settings.trees,
                    step=step,
                    growing=SEQUENCES.lightgbm_params,
                )
            for number, booster in enumerate(boosters):
                booster.save_model(folder / _file(name, number))

    inputs = [_FORMAT, digest.hexdigest(), settings.as_json(), SEQUENCES.as_json()]
    folder = cache.made("history-fusions", inputs, make)
    return {
        name: [lgb.Booster(model_file=folder / _file(name, number)) for number in range(settings.boosters)]
        for name in FUSIONS
    }


def fusion_scores(name: str, boosters: list[lgb.Booster], examples: RankedExamples) -> npt.NDArray[np.float64]:
    """Return a fusion's raw scores of examples with every feature; float64[candidates]."""
    return raw_score(boosters, examples.columns(_columns(name)).features)


_FEATURES: Final = (*SEQUENCES.features, *_LATE, *_LOGIT)


def _columns(name: str) -> list[int]:
    read = {*SEQUENCES.features, *FUSIONS[name]}
    return [column for column, feature in enumerate(_FEATURES) if feature in read]


def _file(name: str, number: int) -> str:
    return f"{name.replace(' ', '-')}-{number}.txt"
