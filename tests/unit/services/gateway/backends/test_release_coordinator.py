"""The release of retrieval and ranking, read and changed as one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from common.errors import BadRelease, InvalidRequest, NotReady
from common.server.channel import open_channel
from services.gateway.backends.release_client import ReleaseClient
from services.gateway.backends.release_coordinator import ReleaseCoordinator


class _ChangeListener:
    """Counts the changes."""

    def __init__(self) -> None:
        self.changes = 0

    def __call__(self) -> None:
        self.changes += 1


@pytest.fixture
def listener() -> _ChangeListener:
    """Return a listener for changes."""
    return _ChangeListener()


@pytest.fixture
async def releases(backends: Any, listener: _ChangeListener) -> AsyncIterator[ReleaseCoordinator]:
    """Return the coordinator of the fake services."""
    async with open_channel(backends.retrieval_target) as retrieval, open_channel(backends.ranking_target) as ranking:
        yield ReleaseCoordinator(
            ReleaseClient("retrieval", [retrieval], 5.0), ReleaseClient("ranking", [ranking], 5.0), listener
        )


def _activations(service: Any) -> list[str]:
    return [request.location for request in service.requests if hasattr(request, "location")]


async def test_both_services_are_described_as_one(releases: ReleaseCoordinator):
    """The release has the models, sources and limits of both services, each limit under its service's name."""
    response = await releases.get_release()
    assert (response.release.release_id, response.release.service) == ("r1", "gateway")
    assert response.release.location == "/releases/r1"
    assert [model.name for model in response.release.models] == ["cross_encoder", "encoder"]
    assert list(response.release.sources) == ["behaviour", "popular"]
    assert response.release.index_type == "hnsw"
    assert dict(response.release.limits) == {"retrieval.candidates": 1_000, "ranking.candidates": 2_000}


async def test_different_releases_are_both_named(backends: Any, releases: ReleaseCoordinator):
    """If the services differ, the id names both."""
    backends.ranking_releases.release_id = "r2"
    release = (await releases.get_release()).release
    assert release.release_id == "retrieval: r1, ranking: r2"
    assert release.location == "retrieval: /releases/r1, ranking: /releases/r2"


async def test_ranking_goes_first(
    backends: Any, releases: ReleaseCoordinator, listener: _ChangeListener, monkeypatch: pytest.MonkeyPatch
):
    """Ranking changes first, then retrieval, and the listener is called once."""
    order: list[str] = []
    for service in (backends.ranking_releases, backends.retrieval_releases):
        original = service.meet

        async def meet(request: Any, context: Any, service: Any = service, original: Any = original) -> None:
            order.extend([service.service] if hasattr(request, "location") else [])
            await original(request, context)

        monkeypatch.setattr(service, "meet", meet)
    response = await releases.activate("/releases/r2")
    assert order == ["ranking", "retrieval"]
    assert (response.release.release_id, response.previous_release_id) == ("r2", "r1")
    assert listener.changes == 1


async def test_a_release_that_ranking_refuses_changes_nothing(
    backends: Any, releases: ReleaseCoordinator, listener: _ChangeListener
):
    """Retrieval is not called, and the refusal is passed on with its status and message."""
    backends.ranking_releases.bad = {"r2"}
    with pytest.raises(BadRelease, match=r"^ranking: release r2 is damaged$"):
        await releases.activate("/releases/r2")
    assert not _activations(backends.retrieval_releases)
    assert listener.changes == 0


async def test_a_release_that_retrieval_refuses_is_rolled_back(backends: Any, releases: ReleaseCoordinator):
    """Ranking returns to its previous release, and the message says so."""
    backends.retrieval_releases.bad = {"r2"}
    with pytest.raises(BadRelease, match=r"^retrieval: release r2 is damaged; ranking was rolled back to r1$"):
        await releases.activate("/releases/r2")
    assert _activations(backends.ranking_releases) == ["/releases/r2", "/releases/r1"]
    assert (await releases.get_release()).release.release_id == "r1"


async def test_a_failed_roll_back_is_reported(backends: Any, releases: ReleaseCoordinator):
    """If ranking cannot be rolled back, the message says which release it still answers for."""
    backends.retrieval_releases.bad = {"r2"}
    backends.ranking_releases.bad = {"r1"}
    with pytest.raises(BadRelease, match="could not be rolled back to r1, which it still answers for"):
        await releases.activate("/releases/r2")


async def test_retrieval_that_breaks_is_rolled_back_too(backends: Any, releases: ReleaseCoordinator):
    """Any failure of retrieval, not only a bad release, rolls ranking back."""
    backends.retrieval_releases.status = grpc.StatusCode.INTERNAL
    with pytest.raises(RuntimeError, match="ranking was rolled back to r1"):
        await releases.activate("/releases/r2")


async def test_a_store_that_changes_in_between_is_reported(
    backends: Any, releases: ReleaseCoordinator, listener: _ChangeListener
):
    """If the location named two releases, the message says to activate again."""
    backends.retrieval_releases.renamed = {"CURRENT": "r3"}
    backends.ranking_releases.renamed = {"CURRENT": "r2"}
    with pytest.raises(BadRelease, match=r"ranking now serves r2 and retrieval r3: .* activate it again"):
        await releases.activate("/releases/CURRENT")
    assert listener.changes == 1


@pytest.mark.parametrize("service", ["retrieval", "ranking"])
async def test_an_unavailable_service_is_named(backends: Any, releases: ReleaseCoordinator, service: str):
    """If one service does not answer, the call fails and the message names it."""
    getattr(backends, f"{service}_releases").status = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(NotReady, match=f"^{service}: failure on demand"):
        await releases.get_release()


async def test_a_location_that_is_refused_is_the_callers_mistake(backends: Any, releases: ReleaseCoordinator):
    """A service's refusal of the location is passed on to the caller."""
    backends.ranking_releases.status = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(InvalidRequest, match="failure on demand"):
        await releases.activate("x")


@pytest.mark.parametrize("restarted", ["retrieval", "ranking"])
async def test_a_restarted_service_follows_the_other(
    backends: Any, releases: ReleaseCoordinator, listener: _ChangeListener, restarted: str
):
    """A service without a previous release is switched to the other's, newer or older, and the listener is called."""
    (other,) = {"retrieval", "ranking"} - {restarted}
    getattr(backends, f"{other}_releases").release_id = "r2"
    getattr(backends, f"{other}_releases").previous = "r1"
    assert await releases.align() == f"{restarted} restarted with r1 and now serves r2"
    assert _activations(getattr(backends, f"{restarted}_releases")) == ["/releases/r2"]
    assert (await releases.get_release()).release.release_id == "r2"
    assert listener.changes == 1


@pytest.mark.parametrize("newer", ["retrieval", "ranking"])
async def test_if_both_restarted_the_newer_release_wins(backends: Any, releases: ReleaseCoordinator, newer: str):
    """If the store's current release changed between the two starts, the later one is served."""
    for service in (backends.retrieval_releases, backends.ranking_releases):
        service.created_s = {"r1": 1, "r2": 2}
    getattr(backends, f"{newer}_releases").release_id = "r2"
    await releases.align()
    assert (await releases.get_release()).release.release_id == "r2"


async def test_services_activated_separately_are_left_alone(
    backends: Any, releases: ReleaseCoordinator, listener: _ChangeListener
):
    """Two services that were each activated separately keep their releases."""
    backends.ranking_releases.release_id = "r2"
    backends.ranking_releases.previous = backends.retrieval_releases.previous = "r0"
    assert not await releases.align()
    assert not _activations(backends.ranking_releases) + _activations(backends.retrieval_releases)
    assert listener.changes == 0


async def test_one_release_is_left_alone(backends: Any, releases: ReleaseCoordinator):
    """If both serve the same release, nothing is activated."""
    assert not await releases.align()
    assert not _activations(backends.ranking_releases) + _activations(backends.retrieval_releases)


async def test_a_release_that_services_changed_to_by_themselves_is_noticed(
    backends: Any, releases: ReleaseCoordinator, listener: _ChangeListener
):
    """A check reports it once, and nothing while the release stays the same."""
    for service in (backends.retrieval_releases, backends.ranking_releases):
        service.previous = "r0"
    await releases.align()
    await releases.align()
    assert listener.changes == 0
    for service in (backends.retrieval_releases, backends.ranking_releases):
        service.previous, service.release_id = "r1", "r2"
    await releases.align()
    await releases.align()
    assert listener.changes == 1
