"""Evaluation gives the same results in process and through a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.store import Release, open_release
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.local_services import LocalServices, local_services
from pipeline.measurement.questions.answers import BOTH, MODES
from pipeline.measurement.questions.gateway_runner import GatewayRunner
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.measurement.questions.protocols import Question, Questions, make_questions
from pipeline.progress import ProgressReport, ProgressStep
from pipeline.tables.replay import replay

PATIENT = {"SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "30", "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "30"}
STEP = ProgressStep(None, "", None)


@pytest.fixture(scope="module")
def services(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServices]:
    with local_services(release.path, tmp_path_factory.mktemp("services"), PATIENT) as running:
        yield running


@pytest.fixture(scope="module")
def release(tiny_release: Path, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Release:
    built = open_release(str(tiny_release))
    asked_at = Windows.of(tiny_dataset.events, built.manifest.settings["window_days"]).test
    folder = tmp_path_factory.mktemp("replay") / "release"
    return replay(built, tiny_dataset, asked_at, folder, ProgressReport(Console(quiet=True)))


@pytest.fixture(scope="module")
def questions(release: Release, tiny_dataset: Dataset) -> Questions:
    return make_questions(tiny_dataset, release.manifest.settings, "temporal", users=None, seed=7)


@pytest.mark.parametrize("mode", MODES)
def test_engines_and_gateway_answer_alike(services: LocalServices, release: Release, questions: Questions, mode: str):
    """The same items in the same order with the same probabilities, by history, by query and by neither."""
    asked = [*questions.main, Question("q", "q", (), "red milk", {}), Question("new", "new", (), "", {})]
    with local_runner(release) as local:
        here = local.answer_questions(asked, mode, 20, STEP)
    there = GatewayRunner(services.targets["gateway"], release.id).answer_questions(asked, mode, 20, STEP)
    assert list(here) == list(there)
    for key, answer in here.items():
        assert list(there[key].item_ids) == list(answer.item_ids)
        np.testing.assert_allclose(there[key].probability, answer.probability, atol=1e-5)
        assert not there[key].degraded


def test_a_release_is_measured_through_the_gateway(services: LocalServices, release: Release, questions: Questions):
    """All figures but those of sources are measured, with the gateway's latencies of the stages."""
    quiet = ProgressReport(Console(quiet=True))
    found = evaluate_release(
        release, questions, EvaluationSettings(limit=10, gateway=services.targets["gateway"]), quiet
    )
    assert found.sources is None
    assert found.cross_validation is None
    assert services.targets["gateway"] in found.answered_by
    assert found.modes[BOTH].latency["ranking"].p50 > 0
    assert found.modes[BOTH].probabilities is not None
    assert sum(mode.degraded for mode in found.modes.values()) == 0


@pytest.mark.parametrize("through_gateway", [False, True])
def test_the_served_long_tail_share_costs_what_was_computed(
    services: LocalServices, release: Release, questions: Questions, through_gateway: bool
):
    """Answers with each minimum long-tail share have the share and cost computed from answers without one."""
    target = services.targets["gateway"] if through_gateway else ""
    quiet = ProgressReport(Console(quiet=True))
    found = evaluate_release(
        release, questions, EvaluationSettings(limit=50, gateway=target, long_tail_shares=True), quiet
    )
    assert [point.min_share for point in found.long_tail] == [0.0, 0.1, 0.2, 0.3, 0.5]
    for point in found.long_tail:
        assert point.served_long_tail_share == pytest.approx(point.long_tail_share)
        assert point.served_cost == point.cost
        assert point.long_tail_share >= point.min_share
    assert found.long_tail[-1].long_tail_share > found.long_tail[0].long_tail_share
    assert found.long_tail[-1].cost.mean != 0  # of which sign, in a shop of random purchases, is chance


def test_folds_cannot_be_made_through_a_gateway(services: LocalServices, release: Release, questions: Questions):
    """Cross-validation refits models, so it needs the engines."""
    quiet = ProgressReport(Console(quiet=True))
    with pytest.raises(InvalidRequest, match="cross-validation needs the engines"):
        evaluate_release(release, questions, EvaluationSettings(folds=2, gateway=services.targets["gateway"]), quiet)


def test_a_gateway_with_another_release_is_refused(services: LocalServices, questions: Questions):
    """Answers of another release are no figures of this one."""
    with pytest.raises(InvalidRequest, match=r"serves release \w+, not 000000000000"):
        GatewayRunner(services.targets["gateway"], "0" * 12).answer_questions(questions.main[:1], BOTH, 5, STEP)
