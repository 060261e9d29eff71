"""Retrieval's answers as values; test_grpc_clients.py has them from a server."""

from __future__ import annotations

import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.backends.retrieval_messages import read_retrieval_result, write_retrieve_request
from services.gateway.backends.stages import RetrieveRequest, StageUnavailable
from services.gateway.candidates import Evidence


def test_a_request_says_what_it_asks_for():
    """Vectors are asked for only if they are wanted; evidence by its number."""
    message = write_retrieve_request(RetrieveRequest(vectors=True, evidence=[Evidence.POPULAR]))
    assert (message.vectors, list(message.evidence)) == (True, [retrieval_pb2.EVIDENCE_POPULAR])
    assert not write_retrieve_request(RetrieveRequest()).vectors


@pytest.mark.parametrize(
    "columns",
    [
        retrieval_pb2.CandidateColumns(vectors_i8=b"\x01\x02\x03"),
        retrieval_pb2.CandidateColumns(sources=[retrieval_pb2.SourceColumn(source="popular", scores=[0.5])]),
    ],
)
def test_columns_that_do_not_fit_the_candidates_are_refused(columns: retrieval_pb2.CandidateColumns):
    """Mixed-up scores or vectors would go unnoticed."""
    candidates = [retrieval_pb2.Candidate(item_id="a"), retrieval_pb2.Candidate(item_id="b")]
    with pytest.raises(StageUnavailable, match="for each candidate"):
        read_retrieval_result(retrieval_pb2.RetrieveResponse(candidates=candidates, columns=columns))
