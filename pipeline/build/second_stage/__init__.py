"""The second stage: the fusion of each kind of recipe, and which text tiers it gets."""
