"""What is learned from a dataset: item graphs, encoders, rankers, fusion."""
