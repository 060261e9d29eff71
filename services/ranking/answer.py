"""The answer to a `RankRequest`, most of it written while the cross-encoder reads."""

from __future__ import annotations

import math

import numpy as np
from shortlist.ranking.v1 import ranking_pb2

from services.ranking.cascade import Prepared
from services.ranking.ranked import Ranking, tier


class Answer:
    """One answer, written in two parts; each score is written once.

    Args:
        request: What was asked.
        release_id: The release that answers.
        ignored: How many history items it does not know.
    """

    def __init__(self, request: ranking_pb2.RankRequest, release_id: str, ignored: int) -> None:
        self._request = request
        self._response = ranking_pb2.RankResponse(release_id=release_id, ignored_history_items=ignored)
        self._awaited: list[int] = []

    def begin(self, prepared: Prepared) -> None:
        """Write the candidates, and the scores of those that the cross-encoder is not to read."""
        self._awaited = prepared.chosen.tolist()
        awaited, items = set(self._awaited), self._response.items
        columns = prepared.probability.tolist(), prepared.late.scores.tolist()
        for place, (candidate, *scores) in enumerate(zip(self._request.candidates, *columns, strict=True)):
            item = items.add()
            item.index = place
            item.item_id = candidate.item_id
            if place not in awaited:
                _write_scores(item, *scores)

    def end(self, ranking: Ranking) -> ranking_pb2.RankResponse:
        """Write what was left open, and return the answer, sorted where that is wished for."""
        items = self._response.items
        columns = (ranking.probability, ranking.late_score, ranking.logit)
        for place, *scores in zip(self._awaited, *(column[self._awaited].tolist() for column in columns), strict=True):
            _write_scores(items[place], *scores)
        if self._request.sort:
            items.sort(key=lambda item: -item.probability)
        self._response.timings.CopyFrom(_timings(ranking))
        return self._response


def _write_scores(item: ranking_pb2.RankedItem, probability: float, late_score: float, logit: float = math.nan) -> None:
    """Write one item's scores, of which those that are no numbers stay unset.

    Fields set one by one in place take less than half the time of a message made from keywords.
    """
    item.probability = probability
    item.tier = tier(logit, late_score)  # type: ignore[assignment]  # the contract's numbers are those of `Tier`
    if logit == logit:  # noqa: PLR0124 - NaN alone differs from itself
        item.cross_encoder_logit = logit
    if late_score == late_score:  # noqa: PLR0124 - likewise
        item.late_interaction_score = late_score


def _timings(ranking: Ranking) -> ranking_pb2.RankTimings:
    scores = ranking.reading.scores
    return ranking_pb2.RankTimings(
        queue_wait_ms=scores.queue_wait_ms,
        tokenise_ms=ranking.tokenise_ms,
        infer_ms=scores.infer_ms,
        fuse_ms=ranking.fuse_ms,
        total_ms=ranking.total_ms,
        pairs=ranking.reading.read,
        padded_tokens=scores.padded_tokens,
        late_interaction_ms=ranking.late_ms,
        late_interaction_items=int((~np.isnan(ranking.late_score)).sum()),
    )
