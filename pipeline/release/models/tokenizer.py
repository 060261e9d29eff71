"""The tokenizer without padding and truncation."""

from __future__ import annotations

from tokenizers import Tokenizer


def plain_tokenizer(file: str) -> Tokenizer:
    """Load a tokenizer without the padding and truncation that its file may ask for."""
    tokenizer = Tokenizer.from_file(file)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
