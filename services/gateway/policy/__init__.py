"""Business rules over a ranking: threshold, caps, minimum share of the long tail."""
