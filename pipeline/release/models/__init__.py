"""Model architectures and tokenizers that are trained and exported."""
