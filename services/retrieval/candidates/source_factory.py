"""Makes a release's candidate sources."""

from __future__ import annotations

from services.retrieval.candidates.artifacts import Parts
from services.retrieval.search.item_search import NearestItems
from services.retrieval.sources.behaviour import Behaviour
from services.retrieval.sources.exploration import Exploration
from services.retrieval.sources.lexical import Lexical
from services.retrieval.sources.popular import Popular
from services.retrieval.sources.semantic import Semantic
from services.retrieval.sources.similar import Similar
from services.retrieval.sources.source import Source


def make_sources(parts: Parts, nearest: NearestItems, popular: Popular) -> dict[str, Source]:
    """Make the candidate sources that the release names, by name."""
    return {name: _make_source(name, parts, nearest, popular) for name in parts.settings.sources}


def _make_source(name: str, parts: Parts, nearest: NearestItems, popular: Popular) -> Source:
    match parts.settings.kind_of(name):
        case "semantic":
            return Semantic(nearest)
        case "similar":
            return Similar(nearest, parts.settings.sources[name].recent)
        case "graph":
            return Behaviour(parts.graphs[name])
        case "popular":
            return Popular(parts.statistics[name]) if name in parts.statistics else popular
        case "lexical":
            return Lexical(parts.words())
        case "exploration":
            return Exploration(parts.popularity, parts.settings.sources[name].popularity)
