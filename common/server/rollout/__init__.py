"""Servers that follow the pointer of their store, in stages over a fleet."""
