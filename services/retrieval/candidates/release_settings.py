"""The file `retrieval.json` of a release: which sources there are and how they are fused."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import BadRelease
from common.release.layout import RETRIEVAL_SETTINGS
from common.release.store import Release
from services.retrieval.sources.user_context import Situation

Kind = Literal["semantic", "similar", "graph", "popular", "lexical", "exploration"]


_KINDS: dict[str, Kind] = {
    "semantic": "semantic",
    "similar": "similar",
    "behaviour": "graph",
    "popular": "popular",
    "lexical": "lexical",
    "exploration": "exploration",
}


# What each kind may be told beside its name; the others nothing.
_OPTIONS: dict[Kind, tuple[str, ...]] = {
    "graph": ("graph",),
    "popular": ("statistic",),
    "similar": ("recent",),
    "exploration": ("popularity",),
}


class SourceSettings(BaseModel):
    """One source.

    Attributes:
        kind: What it does; may be left out for sources called as a kind, and for `behaviour`, which is a graph.
        graph: For the kind `graph`, which item graph of the release it walks; default the source's own name.
        statistic: For the kind `popular`, the item statistic that says how much each item is wanted; default the
            release's popularity.
        recent: For the kind `similar`, how many of the most recent distinct items it searches around.
        popularity: For the kind `exploration`, how popular at most an item is that few have wanted so far.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind | None = None
    graph: str | None = None
    statistic: str | None = None
    recent: int = Field(10, ge=1, le=100)
    popularity: float = Field(2.0, ge=0)

    def foreign_options(self, kind: Kind) -> list[str]:
        """Return the options given that mean nothing to a source of ``kind``."""
        return sorted(self.model_fields_set - {"kind", *_OPTIONS.get(kind, ())})


class FirstStageSettings(BaseModel):
    """What a release says of its first stage.

    Attributes:
        sources: The sources by name.
        weights: For each situation, what each source weighs; sources left out weigh nothing there, situations left
            out weigh all sources alike.
        decay: What one step back in a history weighs less, above 0 to 1.
        history_items: How many of the last steps of a history are read.
        query_prefix: Goes before queries, where the encoder was trained with one, such as "query: ".
        item_prefix: Goes before items' texts, such as "passage: ".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, SourceSettings] = Field(min_length=1)
    weights: dict[Situation, dict[str, float]] = {}
    decay: float = Field(0.98, gt=0, le=1)
    history_items: int = Field(1_000, ge=1, le=10_000)
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
        """Return what the source ``name`` does."""
        return self.sources[name].kind or _KINDS[name]

    @classmethod
    def load(cls, release: Release) -> FirstStageSettings:
        """Read a release's settings; raises BadRelease where they can't be used."""
        try:
            return cls.model_validate_json(release.file(RETRIEVAL_SETTINGS).read_bytes())
        except ValidationError as error:
            raise BadRelease(f"release {release.id}: {RETRIEVAL_SETTINGS} can't be used: {error}") from error
