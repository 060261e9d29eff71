"""The second stage: features, late interaction, cross-encoder and fusion, one after the other."""
