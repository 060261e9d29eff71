"""Reasons and explanations through the gateway, from real servers on a release with every kind of source."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator

import pytest
from rich.console import Console
from shortlist.gateway.v1 import gateway_pb2 as gateway
from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceStub

from common.server.channel import open_channel
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.local_services import LocalServices, local_services
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings

HISTORY = ["dairy-milk-red-0", "dairy-milk-white-0", "dairy-cheese-red-0"]
TIMEOUT_S = 20.0
PATIENT = {"SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "15", "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "15"}


@pytest.fixture(scope="module")
def services(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServices]:
    """Services of a release with every kind of source."""
    folder = tmp_path_factory.mktemp("every-source")
    settings = dataclasses.replace(tiny_settings, added_sources=("lexical", "exploration"))
    release = build(tiny_dataset, folder / "store", settings, ProgressReport(Console(quiet=True)))
    # Not the store: so small a shop's gate may refuse the release, which is explained all the same.
    with local_services(release.path, folder, PATIENT) as running:
        yield running


@pytest.fixture
async def stub(services: LocalServices) -> AsyncIterator[RecommendationServiceStub]:
    async with open_channel(services.targets["gateway"]) as channel:
        yield RecommendationServiceStub(channel)


async def test_explains_through_the_gateway(stub: RecommendationServiceStub):
    """Every item of an answer is explained with the scores that it has there, and the features add up to them."""
    request = gateway.RecommendRequest(query="red milk", history_item_ids=HISTORY, limit=5, explain=True)
    answer = await stub.Recommend(request, timeout=TIMEOUT_S)
    for rank, item in enumerate(answer.items, start=1):
        explained = await stub.Explain(gateway.ExplainRequest(request=request, item_id=item.item_id), timeout=TIMEOUT_S)
        assert (explained.item.item_id, explained.rank, explained.item.tier) == (item.item_id, rank, item.tier)
        assert explained.item.probability == pytest.approx(item.probability, abs=1e-6)
        assert explained.item.reasons == item.reasons
        decided = explained.ranking
        total = sum(feature.contribution for feature in decided.features) + decided.missing_features_contribution
        assert decided.base_log_odds + total == pytest.approx(decided.log_odds, abs=1e-4)
        assert [part.part for part in decided.query_words] == ["red", "milk"]
        assert any(part.contribution for part in decided.item_words)


async def test_each_kind_of_source_has_its_own_reason(stub: RecommendationServiceStub):
    """Words, meaning, similar texts, repeats, behaviour, popularity and exploration are different reasons."""
    request = gateway.RecommendRequest(query="red milk", history_item_ids=HISTORY, limit=200, explain=True)
    answer = await stub.Recommend(request, timeout=TIMEOUT_S)
    kind_of = {
        "lexical": gateway.REASON_KIND_LEXICAL,
        "semantic": gateway.REASON_KIND_SEMANTIC,
        "similar": gateway.REASON_KIND_SIMILAR,
        "follow": gateway.REASON_KIND_BEHAVIOUR,
        "popular": gateway.REASON_KIND_POPULAR,
        "exploration": gateway.REASON_KIND_EXPLORATION,
    }
    for source, kind in kind_of.items():
        found = {item.item_id for item in answer.items if source in {each.source for each in item.sources}}
        given = {item.item_id for item in answer.items if kind in {reason.kind for reason in item.reasons}}
        assert found
        assert found <= given
        assert all(
            kind not in {reason.kind for reason in item.reasons}
            for item in answer.items
            if item.sources and item.item_id not in found
        )
    repeated = {item.item_id: {reason.kind for reason in item.reasons} for item in answer.items}
    in_history = {item_id for item_id, kinds in repeated.items() if gateway.REASON_KIND_IN_HISTORY in kinds}
    assert in_history == set(HISTORY) & set(repeated)
    texts = {reason.text for item in answer.items for reason in item.reasons if reason.kind == kind_of["lexical"]}
    assert texts == {"has words of the query “red milk”"}
