"""Graphs of items: transitions, baskets, sequences, demand, similarity of texts."""
