"""A recipe: what a release is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from common.errors import InvalidRequest
from services.retrieval.candidates.release_settings import FirstStageSettings

# Sources that any release can have: they need neither events nor a recipe's graph.
ADDABLE: Final = ("lexical", "exploration")
# Features that any recipe can have: they need no further table.
ADDABLE_FEATURES: Final = (
    *("price", "price_level", "category_price_level"),
    *("last_days", "due_days", "category_last_days", "idle_days"),
    *("category_affinity", "category_count", "category_last_age"),
    *("brand_affinity", "brand_count", "brand_last_age"),
)


@dataclass(frozen=True)
class GraphSpec:
    """One item graph: its kind in `pipeline.learning.item_graphs.builders.BUILDERS`, and the kind's options."""

    kind: str
    options: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What a release is made of.

    Attributes:
        name: Its name in `--recipe`.
        description: Which shops it is for, in one line.
        sources: The first stage's candidate sources, as `retrieval.json` lists them.
        features: The fusion's features, in order; see `services.ranking.features.feature_set`.
        logit_features: Further features, if a release has a cross-encoder.
        late_features: Further features, if a release has late interaction.
        half_life_long: Half-life of a history event in the features of habits, in later events of the same user.
        half_life_short: The same in the features of the current interest.
        windows: Whether requests are drawn at moments and judged by the days after; else they are judged by the next
            item.
        graphs: Item graphs by name, if the recipe makes its own.
        neighbours: Neighbours of each item in a graph.
        ranked_candidates: How many of a request's best candidates the trees learn to order, if the recipe makes its
            own graphs.
        non_increasing_features: Features that may lower a score when they rise. If a recipe makes its own graphs, the
            trees are monotone in all others: a few thousand examples would teach them accidents.
        lightgbm_params: LightGBM's parameters that differ from `pipeline.learning.fusion.lambdamart`.
        interest_features: Further features, if the data has events that are no purchases.
        judged: Whether it learns from judged searches, and needs no events.
        settings: Defaults of `BuildSettings` that the recipe changes.

    Raises:
        InvalidRequest: A source has an option that its kind does not have.
    """

    name: str
    description: str
    sources: Mapping[str, Mapping[str, Any]]
    features: tuple[str, ...]
    logit_features: tuple[str, ...] = ("logit", "logit_deviation")
    late_features: tuple[str, ...] = ("late_score", "late_rank", "late_deviation")
    half_life_long: float = 150.0
    half_life_short: float = 25.0
    windows: bool = True
    graphs: Mapping[str, GraphSpec] = field(default_factory=dict)
    neighbours: int = 256
    ranked_candidates: int = 100
    non_increasing_features: frozenset[str] = frozenset()
    lightgbm_params: Mapping[str, Any] = field(default_factory=dict)
    interest_features: tuple[str, ...] = (
        "interest_events",
        "interest_strongest",
        "interest_weight",
        "interest_last_age",
    )
    judged: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            FirstStageSettings.model_validate({"sources": self.sources})
        except ValidationError as error:
            raise InvalidRequest(f"recipe {self.name}: {_first(error)}") from error

    @property
    def needs_events(self) -> bool:
        """Whether it learns from events."""
        return self.windows or bool(self.graphs)

    def features_with(self, *, cross_encoder: bool, late_interaction: bool) -> tuple[str, ...]:
        """Return the fusion's features in order, with those of the text tiers that a release has."""
        logits = self.logit_features if cross_encoder else ()
        return (*self.features, *logits, *(self.late_features if late_interaction else ()))

    def with_sources(self, names: Sequence[str]) -> Recipe:
        """Return the recipe with further sources from `ADDABLE`.

        Raises:
            InvalidRequest: A source is not in `ADDABLE`.
        """
        for name in names:
            if name not in ADDABLE:
                raise InvalidRequest(f"added_sources: {name!r} cannot be added; choose from {', '.join(ADDABLE)}")
        return replace(self, sources={**self.sources, **{name: {"kind": name} for name in names}})

    def with_interest(self) -> Recipe:
        """Return the recipe with the features of events that are no purchases."""
        return self._with_features(self.interest_features)

    def with_added_features(self, names: Sequence[str]) -> Recipe:
        """Return the recipe with further features from `ADDABLE_FEATURES`; those that it has are not added twice.

        Raises:
            InvalidRequest: A feature is not in `ADDABLE_FEATURES`.
        """
        for name in names:
            if name not in ADDABLE_FEATURES:
                known = ", ".join(ADDABLE_FEATURES)
                raise InvalidRequest(f"added_features: {name!r} cannot be added; choose from {known}")
        return self._with_features([name for name in dict.fromkeys(names) if name not in self.features])

    def _with_features(self, names: Sequence[str]) -> Recipe:
        return replace(
            self,
            features=(*self.features, *names),
            non_increasing_features=self.non_increasing_features | set(names),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values, in a fixed order."""
        return {**asdict(self), "non_increasing_features": sorted(self.non_increasing_features)}


def _first(error: ValidationError) -> str:
    """Return the first error's message, after the path of the field."""
    first = error.errors()[0]
    path = ".".join(map(str, first["loc"]))
    return ": ".join(filter(None, [path, first["msg"].removeprefix("Value error, ")]))
