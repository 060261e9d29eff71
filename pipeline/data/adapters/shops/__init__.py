"""Adapters for the exports of shop platforms, and for any shop's own tables."""
