"""Business rules over a ranking: threshold, caps, share of the long tail."""
