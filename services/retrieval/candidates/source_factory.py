"""Makes a release's candidate sources."""

from __future__ import annotations

from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.search.item_search import ItemSearch
from services.retrieval.sources.behaviour import BehaviourSource
from services.retrieval.sources.exploration import ExplorationSource
from services.retrieval.sources.lexical import LexicalSource
from services.retrieval.sources.popular import PopularSource
from services.retrieval.sources.semantic import SemanticSource
from services.retrieval.sources.similar import SimilarSource
from services.retrieval.sources.source import Source


def make_sources(parts: ReleaseArtifacts, nearest: ItemSearch, popular: PopularSource) -> dict[str, Source]:
    """Make the candidate sources that the release names, by name."""
    return {name: _make_source(name, parts, nearest, popular) for name in parts.settings.sources}


def _make_source(name: str, parts: ReleaseArtifacts, nearest: ItemSearch, popular: PopularSource) -> Source:
    match parts.settings.kind_of(name):
        case "semantic":
            return SemanticSource(nearest)
        case "similar":
            return SimilarSource(nearest, parts.settings.sources[name].recent)
        case "graph":
            return BehaviourSource(parts.graphs[name])
        case "popular":
            return PopularSource(parts.statistics[name]) if name in parts.statistics else popular
        case "lexical":
            return LexicalSource(parts.words())
        case "exploration":
            return ExplorationSource(parts.popularity, parts.settings.sources[name].popularity)
