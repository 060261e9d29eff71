"""Texts to embeddings: queries and items."""
