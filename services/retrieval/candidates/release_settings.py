"""The file `retrieval.json` of a release: its sources and how their scores are fused."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import BadRelease
from common.release.event_weights import EventWeights
from common.release.layout import RETRIEVAL_SETTINGS
from common.release.store import Release
from services.retrieval.sources.user_context import Situation

Kind = Literal["semantic", "similar", "graph", "popular", "lexical", "exploration"]
# What a source goes by; the contract's `Evidence` has the same names.
Evidence = Literal["behaviour", "repeat", "similar", "semantic", "lexical", "popular", "trending", "exploration"]
_KINDS: dict[str, Kind] = {
    "semantic": "semantic",
    "similar": "similar",
    "behaviour": "graph",
    "popular": "popular",
    "lexical": "lexical",
    "exploration": "exploration",
}
# The options of each kind; other kinds have none.
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "graph": ("graph", "evidence"),
    "popular": ("statistic", "evidence"),
    "similar": ("recent",),
    "exploration": ("popularity",),
}


class SourceSettings(BaseModel):
    """One source.

    Attributes:
        kind: What it does; optional for sources named like a kind, and for `behaviour`, which is a graph.
        graph: For the kind `graph`, the item graph of the release; by default the one named like the source.
        statistic: For the kind `popular`, the item statistic to rank by; by default the release's popularity.
        recent: For the kind `similar`, how many of the most recent distinct items to search around.
        popularity: For the kind `exploration`, the highest popularity of an item that is explored.
        evidence: For the kinds `graph` and `popular`, what it goes by, which decides the reason that users read. By
            default `behaviour` for a graph, and `trending` for a statistic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind | None = None
    graph: str | None = None
    statistic: str | None = None
    recent: int = Field(10, ge=1, le=100)
    popularity: float = Field(2.0, ge=0)
    evidence: Evidence | None = None

    def foreign_options(self, kind: Kind) -> list[str]:
        """Return the given options that a source of ``kind`` does not have."""
        return sorted(self.model_fields_set - {"kind", *_OPTIONS.get(kind, ())})


class FirstStageSettings(BaseModel):
    """A release's settings of its first stage.

    Attributes:
        sources: The sources by name.
        weights: For each situation, the weight of each source. A missing source has weight 0; a missing situation
            weighs all sources equally.
        decay: The factor by which the weight falls with each step back in a history, above 0 to 1.
        history_items: How many of the last items of a history are used.
        events: How much an event of each kind in a history counts.
        query_prefix: Is put before queries, if the encoder was trained with one, such as "query: ".
        item_prefix: Is put before items' texts, such as "passage: ".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, SourceSettings] = Field(min_length=1)
    weights: dict[Situation, dict[str, float]] = {}
    decay: float = Field(0.98, gt=0, le=1)
    history_items: int = Field(1_000, ge=1, le=10_000)
    events: EventWeights = EventWeights()
    query_prefix: str = ""
    item_prefix: str = ""

    @model_validator(mode="after")
    def _known_names(self) -> FirstStageSettings:
        for name, source in self.sources.items():
            if source.kind is None and name not in _KINDS:
                raise ValueError(f"sources.{name}: has no kind")
            kind = self.kind_of(name)
            if foreign := source.foreign_options(kind):
                known = ", ".join(_OPTIONS.get(kind, ())) or "no option"
                raise ValueError(f"sources.{name}.{foreign[0]}: is no option of the kind {kind}, which has {known}")
        for situation, weights in self.weights.items():
            for name, weight in weights.items():
                if name not in self.sources or not 0 <= weight < float("inf"):
                    raise ValueError(f"weights.{situation}.{name}: {weight} for no known source, negative or infinite")
        return self

    def kind_of(self, name: str) -> Kind:
        """Return the kind of the source ``name``."""
        return self.sources[name].kind or _KINDS[name]

    def evidence_of(self, name: str) -> Evidence:
        """Return what the source ``name`` goes by."""
        source, kind = self.sources[name], self.kind_of(name)
        if source.evidence is not None:
            return source.evidence
        if kind == "popular" and source.statistic is not None:
            return "trending"
        return "behaviour" if kind == "graph" else kind

    def sources_with(self, names: Sequence[str], evidence: AbstractSet[str]) -> tuple[str, ...]:
        """Return the sources of ``names`` (empty: all) that go by one of ``evidence`` (empty: any), ordered by name."""
        chosen = sorted(set(names) or self.sources)
        return tuple(name for name in chosen if not evidence or self.evidence_of(name) in evidence)

    @classmethod
    def load(cls, release: Release) -> FirstStageSettings:
        """Load a release's settings; raises BadRelease if they are invalid."""
        try:
            return cls.model_validate_json(release.file(RETRIEVAL_SETTINGS).read_bytes())
        except ValidationError as error:
            raise BadRelease(f"release {release.id}: {RETRIEVAL_SETTINGS} can't be used: {error}") from error
