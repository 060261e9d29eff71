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


def make_sources(artifacts: ReleaseArtifacts, search: ItemSearch, popular: PopularSource) -> dict[str, Source]:
    """Make the candidate sources that the release names, by name."""
    return {name: _make_source(name, artifacts, search, popular) for name in artifacts.settings.sources}


def _make_source(name: str, artifacts: ReleaseArtifacts, search: ItemSearch, popular: PopularSource) -> Source:
    match artifacts.settings.kind_of(name):
        case "semantic":
            return SemanticSource(search)
        case "similar":
            return SimilarSource(search, artifacts.settings.sources[name].recent)
        case "graph":
            return BehaviourSource(artifacts.graphs[name])
        case "popular":
            return PopularSource(artifacts.statistics[name]) if name in artifacts.statistics else popular
        case "lexical":
            return LexicalSource(artifacts.words())
        case "exploration":
            return ExplorationSource(artifacts.popularity, artifacts.settings.sources[name].popularity)
