"""Completes what a user types: titles and categories by prefix, with typos forgiven."""
