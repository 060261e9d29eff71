"""The span of a batch of the cross-encoder, linked with the calls whose pairs it read."""

from __future__ import annotations

from services.ranking.batching.batcher import BatchReport


def trace_batch(report: BatchReport) -> None:
    """Record a batch that has just ended; it has at least one traced call. Called in a worker thread."""
    first, *others = report.spans
    span = first.linked("batch", others, report.ms / 1e3)
    span.set(
        {
            "shortlist.pairs": report.rows,
            "shortlist.tokens": report.tokens,
            "shortlist.padded_tokens": report.padded_tokens,
            "shortlist.failed_pairs": report.failed,
        }
    )
    span.end("FailedPairs" if report.failed else "")
