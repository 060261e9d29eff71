"""Guard rails stop a variant whose answers fail or are late, and no other."""

from __future__ import annotations

from structlog.testing import capture_logs

from services.gateway.experiments.experiment import Experiment
from services.gateway.experiments.guard_rails import GuardedVariant


def _guarded(*, is_control: bool = False, **bounds: float) -> GuardedVariant:
    variants = [{"name": "control"}, {"name": "b"}]
    experiment = Experiment.model_validate({"name": "e", "variant": variants, "min_answers": 100, **bounds})
    return GuardedVariant(experiment, experiment.variants[1], is_control=is_control)


def _observe(guarded: GuardedVariant, answers: int, total_ms: float = 1.0, *, bad_every: int = 0) -> None:
    for number in range(answers):
        guarded.observe(total_ms, is_bad=bool(bad_every) and number % bad_every == 0)


def test_too_many_degraded_answers_stop_a_variant():
    """Above the share it is stopped and logged, but not before it has given enough answers."""
    guarded = _guarded(max_degraded_share=0.1)
    _observe(guarded, 99, bad_every=5)
    assert not guarded.stopped
    with capture_logs() as logs:
        _observe(guarded, 50, bad_every=5)
    assert "more than 10.0%" in guarded.stopped
    assert [line["variant"] for line in logs] == ["b"]
    assert (guarded.answers, guarded.degraded) == (149, 30)


def test_late_answers_stop_a_variant():
    """A 95th percentile above the bound stops it; a few late answers do not."""
    guarded = _guarded(max_p95_ms=100)
    _observe(guarded, 194)
    _observe(guarded, 6, 1_000)
    assert not guarded.stopped
    _observe(guarded, 50, 1_000)
    assert "above 100 ms" in guarded.stopped


def test_old_answers_are_forgotten():
    """What counts are the latest thousand answers."""
    guarded = _guarded(max_degraded_share=0.1)
    _observe(guarded, 10_000)
    _observe(guarded, 150, bad_every=1)
    assert guarded.stopped


def test_the_control_and_unguarded_variants_go_on():
    """Without a bound nothing is stopped, and the control never: nobody could take over its users."""
    for guarded in (_guarded(), _guarded(is_control=True, max_degraded_share=0.0, max_p95_ms=0.1)):
        _observe(guarded, 1_000, 50.0, bad_every=1)
        assert not guarded.stopped
