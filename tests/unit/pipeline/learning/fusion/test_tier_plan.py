"""The plan of tiers: which depths pay on which occasion."""

from __future__ import annotations

import numpy as np

from pipeline.learning.fusion.tier_plan import TierOption, choose_depths, plan_report

NAN = float("nan")


def _option(late: int, cross_encoder: int, ms: float, *gain: float) -> TierOption:
    return TierOption(late, cross_encoder, ms, np.array(gain))


OPTIONS = [
    _option(0, 0, 0.0, 0.20, 0.40, NAN),
    _option(500, 0, 2.0, 0.30, 0.40, NAN),
    _option(0, 15, 20.0, 0.31, 0.39, NAN),
    _option(500, 15, 22.0, 0.36, 0.42, NAN),
]
OCCASIONS = ["query", "history", "both"]


def test_each_occasion_takes_what_pays_there():
    """Steps are taken while a millisecond brings enough; an occasion of which nothing is told has no plan."""
    plan = choose_depths(OPTIONS, OCCASIONS, 0.002)
    assert plan == {
        "query": {"late_interaction": 500, "cross_encoder": 15},
        "history": {"late_interaction": 0, "cross_encoder": 0},
    }
    assert choose_depths(OPTIONS, OCCASIONS, 0.01)["query"] == {"late_interaction": 500, "cross_encoder": 0}
    assert choose_depths(OPTIONS, OCCASIONS, 1e-6)["history"] == {"late_interaction": 500, "cross_encoder": 15}


def test_what_loses_is_never_taken():
    """An option that is worse and dearer is not chosen, however little a millisecond must bring."""
    worse = [_option(0, 0, 0.0, 0.5), _option(500, 0, 1.0, 0.4)]
    assert choose_depths(worse, ["query"], 0.0) == {"query": {"late_interaction": 0, "cross_encoder": 0}}


def test_the_report_tells_every_option():
    """What each option took and reached on an occasion is told, requests that tell nothing left out."""
    report = plan_report(OPTIONS, OCCASIONS)
    assert set(report) == {"query", "history"}
    assert report["query"][1] == {"late_interaction": 500, "cross_encoder": 0, "ms": 2.0, "ndcg@10": 0.3}
