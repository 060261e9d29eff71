"""Pairs of many calls, ordered by deadline and priority, into batches for the cross-encoder."""
