"""Embeddings of texts: queries and items."""
