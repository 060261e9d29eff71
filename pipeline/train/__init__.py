"""Training: behaviour tables, cross-encoder, fusion."""
