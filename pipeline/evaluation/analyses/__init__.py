"""What an evaluation looks at beyond its figures: slices, baselines, ablations, the long tail."""
