"""Candidate sources: each proposes items with scores."""
