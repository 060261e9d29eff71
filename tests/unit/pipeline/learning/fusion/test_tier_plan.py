"""The plan of tiers: which depths pay on which occasion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.learning.fusion.tier_plan import (
    OCCASIONS,
    TierOption,
    choose_depths,
    gaining_occasions,
    lower_bound,
    plan_report,
    unused_tiers,
)

REQUESTS = 40
NONE = {"late_interaction": 0, "cross_encoder": 0}


def _gain(query: float, history: float, noise: float = 0.001) -> np.ndarray:
    """Quality of 40 searches, 40 histories and one request of which nothing is told."""
    wobble = np.resize([noise, -noise], REQUESTS)
    return np.concatenate([query + wobble, history + wobble, [np.nan]])


def _option(late: int, cross_encoder: int, ms: float, gain: np.ndarray) -> TierOption:
    return TierOption(late, cross_encoder, ms, gain)


OPTIONS = [
    _option(0, 0, 0.0, _gain(0.20, 0.40)),
    _option(500, 0, 2.0, _gain(0.30, 0.40)),
    _option(0, 15, 20.0, _gain(0.31, 0.39)),
    _option(500, 15, 22.0, _gain(0.36, 0.42)),
]
ASKED = ["query"] * REQUESTS + ["history"] * REQUESTS + ["both"]


def test_each_occasion_takes_what_pays_there():
    """Steps are taken while a millisecond brings enough; every occasion has a plan, unmeasured ones read nothing."""
    plan = choose_depths(OPTIONS, ASKED, 0.002)
    assert set(plan) == set(OCCASIONS)
    assert plan["query"] == {"late_interaction": 500, "cross_encoder": 15}
    assert plan["history"] == plan["both"] == plan["new_user"] == plan["new_items"] == NONE
    assert choose_depths(OPTIONS, ASKED, 0.01)["query"] == {"late_interaction": 500, "cross_encoder": 0}
    assert choose_depths(OPTIONS, ASKED, 1e-6)["history"] == {"late_interaction": 500, "cross_encoder": 15}


def test_what_loses_is_never_taken():
    """An option that is worse and dearer is not chosen, however little a millisecond must bring."""
    worse = [_option(0, 0, 0.0, _gain(0.5, 0.5)), _option(500, 0, 1.0, _gain(0.4, 0.4))]
    assert choose_depths(worse, ASKED, -1.0)["query"] == NONE


def test_a_gain_within_the_noise_is_not_taken():
    """The mean may rise by luck: the paired lower bound has to be above zero, and few requests prove nothing."""
    noisy = np.random.default_rng(1).normal(0.002, 0.1, REQUESTS)
    gain = np.concatenate([0.2 + noisy, np.full(REQUESTS, 0.4), [np.nan]])
    assert noisy.mean() > 0
    luck = [_option(0, 0, 0.0, _gain(0.2, 0.4, 0.0)), _option(0, 15, 1.0, gain)]
    assert choose_depths(luck, ASKED, 1e-9)["query"] == NONE
    few = ["query"] * 7 + ["history"] * (2 * REQUESTS - 6)
    assert choose_depths(OPTIONS, few, 1e-9)["query"] == NONE


def test_the_lower_bound_is_students():
    """It is the lower end of scipy's one-sided interval of a paired t-test; of few requests there is none."""
    values = np.random.default_rng(3).normal(0.1, 0.2, 30)
    expected = stats.ttest_1samp(values, 0.0, alternative="greater").confidence_interval(0.95).low
    assert lower_bound(values) == pytest.approx(expected)
    assert lower_bound(np.ones(7)) == -np.inf


def test_a_short_training_is_asked_for_less_confidence():
    """Occasions in which some option gains are named with their gain."""
    gains = gaining_occasions(OPTIONS, ASKED, 0.84)
    assert gains == {"query": pytest.approx(0.16), "history": pytest.approx(0.02)}
    assert gaining_occasions(OPTIONS[:1], ASKED, 0.84) == {}


def test_of_many_occasions_each_needs_more_confidence():
    """A gain of 1.5 standard errors is enough for one kind of request, and may be chance among five."""
    drawn = np.resize([1.0, -1.0], REQUESTS) * np.sqrt((REQUESTS - 1) / REQUESTS)
    gain = 1.5 / np.sqrt(REQUESTS) + drawn
    alone = [_option(0, 0, 0.0, np.zeros(REQUESTS)), _option(0, 15, 1.0, gain)]
    assert list(gaining_occasions(alone, ["query"] * REQUESTS, 0.84)) == ["query"]
    among = [_option(0, 0, 0.0, np.zeros(5 * REQUESTS)), _option(0, 15, 1.0, np.append(gain, np.zeros(4 * REQUESTS)))]
    assert gaining_occasions(among, np.repeat(OCCASIONS, REQUESTS).tolist(), 0.84) == {}


def test_tiers_without_any_depth_are_unused():
    """A tier is used if some occasion gives it candidates."""
    plan = {"query": {"late_interaction": 500, "cross_encoder": 0}, "history": NONE}
    assert unused_tiers(plan, {"late_interaction", "cross_encoder"}) == ["cross_encoder"]
    assert unused_tiers(plan, {"late_interaction"}) == []


def test_the_report_tells_every_option():
    """What each option took and reached on an occasion is told, requests that tell nothing left out."""
    report = plan_report(OPTIONS, ASKED)
    assert set(report) == {"query", "history"}
    second = report["query"][1]
    assert (second["late_interaction"], second["cross_encoder"], second["ms"]) == (500, 0, 2.0)
    assert second["ndcg@10"] == pytest.approx(0.3)
    assert second["requests"] == REQUESTS
    assert second["lower bound of the gain"] == pytest.approx(0.1)
