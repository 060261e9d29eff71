"""The first stage: candidates from several sources, fused, over a live catalogue."""
