"""The fusion model over features, and the weights of candidate sources."""
