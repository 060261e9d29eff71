"""Answers are written in two parts and say what one part would."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shortlist.ranking.v1 import ranking_pb2

from services.ranking.answer import Answer
from services.ranking.cascade import Prepared
from services.ranking.late_tier import LateReading
from services.ranking.pair_reader import Reading
from services.ranking.pair_scores import PairScores
from services.ranking.pairs import TokenRows
from services.ranking.ranked import Ranking, Tier

COUNT = 6
NOTHING = np.empty(0, dtype=np.int32)


def prepared(probability: list[float], late: list[float], chosen: list[int]) -> Prepared:
    """Return what is known before the cross-encoder reads."""
    return Prepared(
        matrix=np.zeros((COUNT, 1), dtype=np.float32),
        probability=np.array(probability, dtype=np.float32),
        late=LateReading(np.array(late, dtype=np.float32), 0.0),
        chosen=np.array(chosen, dtype=np.int64),
        context=NOTHING,
        items=TokenRows.of([[]] * len(chosen)),
        keys=[],
        fuse_ms=0.0,
        tokenise_ms=0.0,
    )


def oracle(ranking: Ranking, sort: bool) -> list[ranking_pb2.RankedItem]:
    """Write everything at once."""
    items = []
    for place in range(COUNT):
        logit, late = float(ranking.logit[place]), float(ranking.late_score[place])
        item = ranking_pb2.RankedItem(index=place, item_id=f"item-{place}", probability=ranking.probability[place])
        if not math.isnan(late):
            item.late_interaction_score = late
        if not math.isnan(logit):
            item.cross_encoder_logit = logit
        item.tier = Tier.FEATURES if math.isnan(late) else Tier.LATE_INTERACTION
        item.tier = item.tier if math.isnan(logit) else Tier.CROSS_ENCODER
        items.append(item)
    return sorted(items, key=lambda item: -item.probability) if sort else items


@given(st.data(), st.booleans())
def test_two_parts_say_what_one_would(data: st.DataObject, sort: bool):
    """Whatever is chosen and read, each score stands where it belongs, and equals keep their order when sorted."""
    shares = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=COUNT, max_size=COUNT)
    before, after, late, logits = (data.draw(shares) for _ in range(4))
    late = [math.nan if score == 0.25 else score for score in late]
    chosen = data.draw(st.lists(st.integers(0, COUNT - 1), unique=True))
    read = np.full(COUNT, math.nan, dtype=np.float32)
    probability = np.array(before, dtype=np.float32)
    for place in chosen:
        if logits[place] != 0.5:  # else there was no time to read it
            read[place], probability[place] = logits[place], after[place]
    started = prepared(before, late, chosen)
    reading = Reading(PairScores.unread(0), read=len(chosen))
    ranking = Ranking(probability, read, started.late.scores, reading, 1.0, 2.0, 3.0, 4.0, 5.0)
    candidates = [ranking_pb2.RankCandidate(item_id=f"item-{place}") for place in range(COUNT)]
    answer = Answer(ranking_pb2.RankRequest(candidates=candidates, sort=sort), "a release", 7)
    answer.begin(started)
    response = answer.end(ranking)
    assert list(response.items) == oracle(ranking, sort)
    assert (response.release_id, response.ignored_history_items) == ("a release", 7)
    assert response.timings.pairs == len(chosen)
