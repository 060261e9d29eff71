"""The scope that each method needs."""

from __future__ import annotations

from typing import Final

from common.security.callers import Scope

METHOD_SCOPES: Final[dict[str, Scope]] = {
    "/shortlist.gateway.v1.RecommendationService/Recommend": Scope.RECOMMEND,
    "/shortlist.gateway.v1.RecommendationService/RecordEvents": Scope.RECORD,
    "/shortlist.gateway.v1.RecommendationService/ForgetUser": Scope.RECORD,
    "/shortlist.gateway.v1.RecommendationService/Explain": Scope.RECOMMEND,
    "/shortlist.gateway.v1.RecommendationService/SimilarItems": Scope.RECOMMEND,
    "/shortlist.gateway.v1.RecommendationService/RelatedToCart": Scope.RECOMMEND,
    "/shortlist.gateway.v1.RuleService/ListRules": Scope.READ,
    "/shortlist.gateway.v1.RuleService/PutRules": Scope.ADMINISTER,
    "/shortlist.gateway.v1.RuleService/DeleteRules": Scope.ADMINISTER,
    "/shortlist.gateway.v1.RuleService/TryRules": Scope.READ,
    "/shortlist.gateway.v1.RecommendationService/BatchRecommend": Scope.RECOMMEND,
    "/shortlist.gateway.v1.RecommendationService/Complete": Scope.RECOMMEND,
    "/shortlist.gateway.v1.RecommendationService/ListFacets": Scope.RECOMMEND,
    "/shortlist.retrieval.v1.RetrievalService/Retrieve": Scope.RECOMMEND,
    "/shortlist.retrieval.v1.RetrievalService/BatchRetrieve": Scope.RECOMMEND,
    "/shortlist.retrieval.v1.RetrievalService/Complete": Scope.RECOMMEND,
    "/shortlist.retrieval.v1.RetrievalService/ListFacets": Scope.RECOMMEND,
    "/shortlist.retrieval.v1.RetrievalService/GetItems": Scope.READ,
    "/shortlist.retrieval.v1.RetrievalService/ReadItemTexts": Scope.READ,
    "/shortlist.retrieval.v1.RetrievalService/UpsertItems": Scope.ADMINISTER,
    "/shortlist.retrieval.v1.RetrievalService/DeleteItems": Scope.ADMINISTER,
    "/shortlist.ranking.v1.RankingService/Rank": Scope.RECOMMEND,
    "/shortlist.ranking.v1.RankingService/Explain": Scope.RECOMMEND,
    "/shortlist.release.v1.ReleaseService/GetRelease": Scope.READ,
    "/shortlist.release.v1.ReleaseService/ActivateRelease": Scope.ADMINISTER,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Scope.READ,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Scope.READ,
}

# Probes of orchestrators have no credentials, and learn nothing but whether the server serves.
_OPEN_SERVICE: Final = "/grpc.health.v1.Health/"


def scope_of(method: str) -> Scope | None:
    """Return the scope that a method needs: None if it is open to all, `administer` if it is not listed."""
    if method.startswith(_OPEN_SERVICE):
        return None
    return METHOD_SCOPES.get(method, Scope.ADMINISTER)
