"""Training requests and their cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from benchmarks.histories.requests import Requests, TrainingSplit
from pipeline.learning.fusion.lambdamart import RankedExamples


def test_training_requests_are_those_of_the_build(parts: TrainingSplit, examples: Path):
    """Candidates and features are the build's, from tables without the requests' targets."""
    built = [RankedExamples.load(examples / f"{part}.npz") for part in ("learnt", "checked")]
    known = {_key(part, place) for part in built for place in range(len(part.sizes))}
    asked = [part.examples for part in (parts.text_rankers, parts.fusions)]
    mine = {_key(part, place) for part in asked for place in range(len(part.sizes))}
    assert len(mine) > 50
    assert mine <= known
    assert {_key(built[0], place) for place in range(len(built[0].sizes))} <= mine


def test_no_user_is_in_both_parts(parts: TrainingSplit):
    """Fusions see no score of a model that learnt from the same user, and every target is a candidate."""
    assert not set(parts.text_rankers.users) & set(parts.fusions.users)
    assert len(set(parts.text_rankers.users)) > len(set(parts.fusions.users)) > 0
    for part in (parts.text_rankers, parts.fusions):
        assert part.with_target().tolist() == list(range(len(part)))
        assert 1 + np.count_nonzero(np.diff(part.users)) == len(np.unique(part.users))


def test_saved_requests_are_unchanged_after_loading(parts: TrainingSplit, tmp_path: Path):
    """Saving and loading, splitting and joining give the same requests with the same fingerprint."""
    requests = parts.fusions
    requests.save(tmp_path / "requests.npz")
    loaded = Requests.load(tmp_path / "requests.npz")
    halves = requests.select(np.arange(5)), requests.select(np.arange(5, len(requests)))
    for same in (loaded, Requests.join(halves)):
        assert same.fingerprint() == requests.fingerprint()
        assert np.array_equal(same.examples.features, requests.examples.features, equal_nan=True)
    other = dataclasses.replace(requests, histories=[history[::-1] for history in requests.histories])
    assert other.fingerprint() != requests.fingerprint()


def test_training_reads_histories_candidates_and_labels(parts: TrainingSplit):
    """The labelled requests are the requests in their order."""
    labelled = parts.fusions.labelled()
    assert len(labelled) == len(parts.fusions)
    assert np.array_equal(np.concatenate([one.candidates.rows for one in labelled]), parts.fusions.rows)
    assert all(one.labels.sum() == 1 for one in labelled)
    assert np.array_equal(labelled[3].user.history, parts.fusions.histories[3])


def _key(part: RankedExamples, place: int) -> bytes:
    """Return a request's features and labels, a learnt request's best candidates first."""
    start = int(part.sizes[:place].sum())
    rows = slice(start, start + int(part.sizes[place]))
    return part.features[rows].tobytes() + part.labels[rows].tobytes()
