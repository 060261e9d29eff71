"""Metrics of rankings: relevance, calibration, coverage, with bootstrap intervals."""
