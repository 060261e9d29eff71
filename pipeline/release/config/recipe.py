"""What a recipe says of a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from pydantic import ValidationError

from common.errors import InvalidRequest
from services.retrieval.candidates.release_settings import FirstStageSettings

# What any release can have: these sources need neither events nor a graph that a recipe makes.
ADDABLE: Final = ("lexical", "exploration")


@dataclass(frozen=True)
class GraphSpec:
    """One item graph: what computes it, and with which options; see `pipeline.learning.item_graphs.builders.MAKERS`."""

    kind: str
    options: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What a release is made of.

    Attributes:
        name: What `--recipe` calls it.
        description: One line on which shops it is for.
        sources: The first stage's sources, as `retrieval.json` lists them.
        features: What the fusion reads, in its order; see `services.ranking.features.feature_set`.
        late_features: What it reads besides, where a release has late interaction.
        half_life_long: After how many events an event counts half in the features, for habits.
        half_life_short: The same for what the user is about now.
        windows: Whether examples are drawn at moments, and judged by the days after; else by the next item.
        graphs: Item graphs by name, where the recipe makes its own.
        neighbours: How many neighbours of each item a graph keeps.
        learned: How many of a request's best candidates the trees learn the order of, where the recipe makes its own.
        falling: Features of which more is not better; where a recipe makes its own graphs, the trees may only rise
            with all others, since a few thousand examples would else teach them accidents.
        growing: How LightGBM grows the trees, where the recipe departs from `pipeline.learning.fusion.lambdamart`.
        judged: Whether it learns from judged searches, and needs no events.
        settings: What the recipe sets in `BuildSettings` unless told otherwise.
    """

    name: str
    description: str
    sources: Mapping[str, Mapping[str, Any]]
    features: tuple[str, ...]
    late_features: tuple[str, ...] = ("late_score", "late_rank", "late_deviation")
    half_life_long: float = 150.0
    half_life_short: float = 25.0
    windows: bool = True
    graphs: Mapping[str, GraphSpec] = field(default_factory=dict)
    neighbours: int = 256
    learned: int = 100
    falling: frozenset[str] = frozenset()
    growing: Mapping[str, Any] = field(default_factory=dict)
    judged: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            FirstStageSettings.model_validate({"sources": self.sources})
        except ValidationError as error:
            raise InvalidRequest(f"recipe {self.name}: {_first(error)}") from error

    def with_sources(self, names: Sequence[str]) -> Recipe:
        """Return the recipe with further sources, of those that any release can have.

        Raises:
            InvalidRequest: There is no such source to add.
        """
        for name in names:
            if name not in ADDABLE:
                raise InvalidRequest(f"no source {name!r} can be added; those that can are {', '.join(ADDABLE)}")
        return replace(self, sources={**self.sources, **{name: {"kind": name} for name in names}})

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as plain values, the same ones each time."""
        return {**asdict(self), "falling": sorted(self.falling)}


def _first(error: ValidationError) -> str:
    """Return what is wrong first, with where it stands."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return ": ".join(filter(None, [where, first["msg"].removeprefix("Value error, ")]))
