"""Smaller forms of the cross-encoder, and the gate that they must pass."""
