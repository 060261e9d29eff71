"""The release behind the gateway, told and changed as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from common.errors import BadRelease, InvalidRequest, NotReady
from common.server.channel import open_channel
from services.gateway.backends.release_alignment import align_releases
from services.gateway.backends.releases import Backend, Releases


class _Told:
    """Counts how often it was told of a change."""

    def __init__(self) -> None:
        self.times = 0
        self.heard = asyncio.Event()

    def __call__(self) -> None:
        self.times += 1
        self.heard.set()


@pytest.fixture
def told() -> _Told:
    """Return what is told of changes."""
    return _Told()


@pytest.fixture
async def releases(backends: Any, told: _Told) -> AsyncIterator[Releases]:
    """Return the releases of the stand-ins."""
    async with open_channel(backends.retrieval_target) as retrieval, open_channel(backends.ranking_target) as ranking:
        yield Releases(Backend("retrieval", retrieval, 5.0), Backend("ranking", ranking, 5.0), told)


def _activations(service: Any) -> list[str]:
    return [request.location for request in service.requests if hasattr(request, "location")]


async def test_both_services_are_told_as_one(releases: Releases):
    """One release with the models, sources and limits of both, each limit under its service's name."""
    response = await releases.look()
    assert (response.release.release_id, response.release.service) == ("r1", "gateway")
    assert response.release.location == "/releases/r1"
    assert [model.name for model in response.release.models] == ["cross_encoder", "encoder"]
    assert list(response.release.sources) == ["behaviour", "popular"]
    assert response.release.index_type == "hnsw"
    assert dict(response.release.limits) == {"retrieval.candidates": 1_000, "ranking.candidates": 2_000}


async def test_different_releases_are_told_apart(backends: Any, releases: Releases):
    """Where the services differ the id names both, so that it is taken for neither."""
    backends.ranking_releases.release_id = "r2"
    release = (await releases.look()).release
    assert release.release_id == "retrieval: r1, ranking: r2"
    assert release.location == "retrieval: /releases/r1, ranking: /releases/r2"


async def test_ranking_goes_first(backends: Any, releases: Releases, told: _Told, monkeypatch: pytest.MonkeyPatch):
    """Ranking is changed, then retrieval, and the gateway hears of it once."""
    order: list[str] = []
    for service in (backends.ranking_releases, backends.retrieval_releases):
        met = service.meet

        async def meet(request: Any, context: Any, service: Any = service, met: Any = met) -> None:
            order.extend([service.service] if hasattr(request, "location") else [])
            await met(request, context)

        monkeypatch.setattr(service, "meet", meet)
    response = await releases.activate("/releases/r2")
    assert order == ["ranking", "retrieval"]
    assert (response.release.release_id, response.previous_release_id) == ("r2", "r1")
    assert told.times == 1


async def test_a_release_that_ranking_refuses_changes_nothing(backends: Any, releases: Releases, told: _Told):
    """Retrieval is not even asked, and the refusal comes through with its status and message."""
    backends.ranking_releases.bad = {"r2"}
    with pytest.raises(BadRelease, match=r"^ranking: release r2 is damaged$"):
        await releases.activate("/releases/r2")
    assert not _activations(backends.retrieval_releases)
    assert told.times == 0


async def test_a_release_that_retrieval_refuses_is_rolled_back(backends: Any, releases: Releases):
    """Ranking goes back to what it served, and the message says so."""
    backends.retrieval_releases.bad = {"r2"}
    with pytest.raises(BadRelease, match=r"^retrieval: release r2 is damaged; ranking was rolled back to r1$"):
        await releases.activate("/releases/r2")
    assert _activations(backends.ranking_releases) == ["/releases/r2", "/releases/r1"]
    assert (await releases.look()).release.release_id == "r1"


async def test_a_failed_roll_back_is_told(backends: Any, releases: Releases):
    """Where ranking cannot go back the message says which release it still answers for."""
    backends.retrieval_releases.bad = {"r2"}
    backends.ranking_releases.bad = {"r1"}
    with pytest.raises(BadRelease, match="could not be rolled back to r1, which it still answers for"):
        await releases.activate("/releases/r2")


async def test_retrieval_that_breaks_is_rolled_back_too(backends: Any, releases: Releases):
    """Any failure of retrieval, not only a bad release, takes ranking back."""
    backends.retrieval_releases.status = grpc.StatusCode.INTERNAL
    with pytest.raises(RuntimeError, match="ranking was rolled back to r1"):
        await releases.activate("/releases/r2")


async def test_a_store_that_changes_in_between_is_told(backends: Any, releases: Releases, told: _Told):
    """Where the location came to mean two releases the caller is asked to activate again."""
    backends.retrieval_releases.renamed = {"CURRENT": "r3"}
    backends.ranking_releases.renamed = {"CURRENT": "r2"}
    with pytest.raises(BadRelease, match=r"ranking now serves r2 and retrieval r3: .* activate it again"):
        await releases.activate("/releases/CURRENT")
    assert told.times == 1


@pytest.mark.parametrize("service", ["retrieval", "ranking"])
async def test_a_service_that_is_away_is_named(backends: Any, releases: Releases, service: str):
    """Without one of the services there is no whole to tell of, and the message names it."""
    getattr(backends, f"{service}_releases").status = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(NotReady, match=f"^{service}: told to fail"):
        await releases.look()


async def test_a_location_that_is_refused_is_the_callers_mistake(backends: Any, releases: Releases):
    """The services' own judgement of the location reaches the caller."""
    backends.ranking_releases.status = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(InvalidRequest, match="told to fail"):
        await releases.activate("x")


@pytest.mark.parametrize("came_back", ["retrieval", "ranking"])
async def test_a_service_that_came_back_follows_the_other(
    backends: Any, releases: Releases, told: _Told, came_back: str
):
    """One that served nothing before is brought to what the other serves, newer or older, and the gateway hears."""
    (other,) = {"retrieval", "ranking"} - {came_back}
    getattr(backends, f"{other}_releases").release_id = "r2"
    getattr(backends, f"{other}_releases").previous = "r1"
    assert await releases.align() == f"{came_back} came back on r1 and serves r2 again"
    assert _activations(getattr(backends, f"{came_back}_releases")) == ["/releases/r2"]
    assert (await releases.look()).release.release_id == "r2"
    assert told.times == 1


@pytest.mark.parametrize("newer", ["retrieval", "ranking"])
async def test_where_both_came_back_the_newer_release_is_meant(backends: Any, releases: Releases, newer: str):
    """A store whose current release changed between the two starts is taken at its later word."""
    for service in (backends.retrieval_releases, backends.ranking_releases):
        service.created_s = {"r1": 1, "r2": 2}
    getattr(backends, f"{newer}_releases").release_id = "r2"
    await releases.align()
    assert (await releases.look()).release.release_id == "r2"


async def test_services_activated_apart_are_left_alone(backends: Any, releases: Releases, told: _Told):
    """Two services that were both activated differently are as somebody wants them."""
    backends.ranking_releases.release_id = "r2"
    backends.ranking_releases.previous = backends.retrieval_releases.previous = "r0"
    assert not await releases.align()
    assert not _activations(backends.ranking_releases) + _activations(backends.retrieval_releases)
    assert told.times == 0


async def test_one_release_is_left_alone(backends: Any, releases: Releases):
    """Where both serve the same release nothing is activated."""
    assert not await releases.align()
    assert not _activations(backends.ranking_releases) + _activations(backends.retrieval_releases)


async def test_alignment_goes_on_after_a_failure(
    backends: Any, releases: Releases, told: _Told, monkeypatch: pytest.MonkeyPatch
):
    """A service that does not answer is looked at again, until both serve one release."""
    backends.ranking_releases.release_id, backends.ranking_releases.previous = "r2", "r1"
    met, failures = backends.retrieval_releases.meet, iter([grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE])

    async def meet(request: Any, context: Any) -> None:
        if (status := next(failures, None)) is not None:
            await context.abort(status, "told to fail")
        await met(request, context)

    monkeypatch.setattr(backends.retrieval_releases, "meet", meet)
    keeping = asyncio.create_task(align_releases(releases, 0.01))
    await asyncio.wait_for(told.heard.wait(), 20)
    keeping.cancel()
    assert (await releases.look()).release.release_id == "r2"
