"""Adapters for what the gateway itself has recorded."""
