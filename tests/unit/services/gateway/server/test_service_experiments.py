"""Experiments and shadow traffic of a running gateway over fake services."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2

from services.gateway.experiments.experiment import BadExperiments
from services.gateway.impressions.log_files import PATTERN
from services.gateway.settings import Settings
from testing.gateway_backends import Backends
from testing.gateway_client import degradation_kinds, item_ids, running_gateway

MakeSettings = Callable[..., Settings]
EXPERIMENT = '[[experiment]]\nname = "e"\nmin_answers = 5\n{bounds}\n[[experiment.variant]]\nname = "control"\n'
VARIANT = '[[experiment.variant]]\nname = "b"\nweight = 1e9\n'  # everybody gets it


@pytest.fixture
async def others() -> AsyncIterator[Backends]:
    """Return a second pair of fake services that serve another release."""
    both = Backends()
    both.retrieval.release_id = both.ranking.release_id = "r2"
    await both.start()
    yield both
    await both.stop()


def _file(folder: Path, changes: str, bounds: str = "") -> Path:
    file = folder / "experiments.toml"
    file.write_text(EXPERIMENT.format(bounds=bounds) + VARIANT + changes)
    return file


async def test_a_variant_answers_its_users(gateway_settings: MakeSettings, tmp_path: Path):
    """Its rules hold, and answer, log and metrics name it; who is nobody is in no experiment."""
    settings = gateway_settings(
        experiments=_file(tmp_path, 'max_per_brand = 1\nstages = "first"'), impressions_log=tmp_path / "log"
    )
    async with running_gateway(settings) as client:
        answer = await client.recommend(user_id="ann", limit=10)
        nobody = await client.recommend(limit=10)
        text = await client.metrics()
    assert item_ids(answer) == ["item-0", "item-1", "item-2", "item-3"]
    assert answer.variants == [gateway_pb2.ExperimentVariant(experiment="e", variant="b")]
    assert (len(nobody.items), list(nobody.variants)) == (10, [])
    assert 'shortlist_gateway_variant_answers_total{experiment="e",variant="b"} 1.0' in text
    assert 'shortlist_gateway_variant_answers_total{experiment="e",variant="control"} 0.0' in text
    (file,) = (tmp_path / "log").glob(PATTERN)
    shown = [json.loads(line) for line in file.read_text().splitlines()]
    assert [record["variants"] for record in shown] == [[["e", "b", False]], []]
    assert shown[0]["stages"] == "first"


async def test_a_variant_may_have_services_of_its_own(gateway_settings: MakeSettings, others: Backends, tmp_path: Path):
    """Users of the variant get the other release, all others the main one."""
    targets = f'retrieval_target = "{others.retrieval_target}"\nranking_target = "{others.ranking_target}"\n'
    async with running_gateway(gateway_settings(experiments=_file(tmp_path, targets))) as client:
        assert (await client.recommend(user_id="ann")).release_id == "r2"
        assert (await client.recommend()).release_id == "r1"


async def test_a_stopped_variant_hands_its_users_to_the_control(
    gateway_settings: MakeSettings, others: Backends, tmp_path: Path
):
    """Once too many of its answers are degraded, the control answers, and answer and metrics say so."""
    others.ranking.status = grpc.StatusCode.INTERNAL
    file = _file(tmp_path, f'ranking_target = "{others.ranking_target}"\n', "max_degraded_share = 0.1")
    async with running_gateway(gateway_settings(experiments=file)) as client:
        before = [await client.recommend(user_id=f"u{number}") for number in range(5)]
        after = await client.recommend(user_id="u0")
        text = await client.metrics()
    assert [degradation_kinds(answer) for answer in before] == [["RANKING_UNAVAILABLE"]] * 5
    assert not degradation_kinds(after)
    assert [(each.variant, each.stopped) for each in after.variants] == [("b", True)]
    assert 'shortlist_gateway_variant_stopped{experiment="e",variant="b"} 1.0' in text


async def test_services_of_variants_need_tls_too(gateway_settings: MakeSettings, tmp_path: Path):
    """A variant's service on another machine is refused without TLS, as the main ones are."""
    file = _file(tmp_path, 'ranking_target = "ranking.example:50053"\n')
    with pytest.raises(BadExperiments, match="without TLS"):
        async with running_gateway(gateway_settings(experiments=file)):
            pass


async def test_the_shadow_gets_the_same_calls(gateway_settings: MakeSettings, others: Backends):
    """It is called with the same candidates, its answer reaches nobody, and its outcome is counted."""
    settings = gateway_settings(shadow_ranking_target=others.ranking_target)
    async with running_gateway(settings) as client:
        answer = await client.recommend(query="milk", limit=3)
        await others.ranking.called.wait()
        (request,) = others.ranking.requests
        text = ""
        while 'shadow_calls_total{outcome="answered"} 1.0' not in text:
            text = await client.metrics()
    assert answer.release_id == "r1"
    assert request.user.query == "milk"
    assert len(request.columns.item_ids) == 40
    assert "shortlist_gateway_shadow_same_top_total 1.0" in text


async def test_a_shadow_that_hangs_costs_nothing(gateway_settings: MakeSettings, others: Backends):
    """Calls beyond those that may wait are dropped and counted, and every answer is complete."""
    others.ranking.delay_s = 3_600.0
    async with running_gateway(gateway_settings(shadow_ranking_target=others.ranking_target)) as client:
        answers = [await client.recommend(limit=1) for _ in range(130)]
        text = await client.metrics()
    assert not any(answer.degradations for answer in answers)
    name = 'shortlist_gateway_shadow_calls_total{outcome="dropped"}'
    (dropped,) = (line for line in text.splitlines() if line.startswith(name))
    assert float(dropped.split()[-1]) >= 1
