"""Product searches with judgements of relevance."""
