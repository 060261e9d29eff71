"""Rankers of text on histories, for `ranking-history-tiers`."""
