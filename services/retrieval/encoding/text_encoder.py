"""Embeds texts with a tokeniser and an ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from tokenizers import Tokenizer

from common.arrays import Float32Array
from common.onnx_session import OnnxModel, SessionOptions
from common.release.layout import ENCODER, ENCODER_TOKENIZER
from common.release.store import Release
from common.text import folded

# Used if the tokeniser's file sets no bound; all-MiniLM-L6-v2 was trained with it.
DEFAULT_MAX_TOKENS: Final = 256
_BATCH_TEXTS: Final = 32
_WORD_BEGIN: Final = "\u2581"  # SentencePiece's mark


class TextEncoder(Protocol):
    """Embeds texts."""

    @property
    def dimension(self) -> int:
        """Return the length of an embedding."""
        ...

    @property
    def provider(self) -> str:
        """Return the execution provider that runs the model."""
        ...

    @property
    def words(self) -> frozenset[str]:
        """Return the words that the model reads as one token each, folded."""
        ...

    def encode(self, texts: Sequence[str]) -> Float32Array:
        """Embed texts as unit vectors; shape [texts, dimension]. Safe for threads."""
        ...


class OnnxTextEncoder:
    """Embeds texts with a model that pools and normalises.

    Args:
        model: Takes `input_ids` and `attention_mask`, int64 [n, tokens]; returns unit vectors, float32 [n, dimension].
        tokenizer: The model's. Texts are truncated to the length set in its file.
    """

    def __init__(self, model: OnnxModel, tokenizer: Tokenizer) -> None:
        limit = (tokenizer.truncation or {}).get("max_length", DEFAULT_MAX_TOKENS)
        tokenizer.enable_truncation(limit)
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._model = model
        self.max_tokens: int = limit
        self.dimension: int = self._run([""]).shape[1]

    @classmethod
    def load(cls, release: Release, options: SessionOptions) -> OnnxTextEncoder:
        """Load the encoder of a release."""
        tokenizer = Tokenizer.from_file(str(release.file(ENCODER_TOKENIZER)))
        return cls(OnnxModel(release.file(ENCODER), options), tokenizer)

    @property
    def provider(self) -> str:
        """The execution provider that runs the model."""
        return self._model.provider

    @property
    def file(self) -> Path:
        """The model's file."""
        return self._model.file

    @cached_property
    def words(self) -> frozenset[str]:
        """See `TextEncoder.words`: tokens that begin a word in SentencePiece, tokens without ``##`` in WordPiece."""
        tokens = self._tokenizer.get_vocab()
        begin = [token[1:] for token in tokens if token.startswith(_WORD_BEGIN)]
        return frozenset(folded(word) for word in begin or tokens if word.isalpha())

    def encode(self, texts: Sequence[str]) -> Float32Array:
        """See `TextEncoder.encode`. Batches hold texts of similar length, which keeps padding small."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
        for start in range(0, len(order), _BATCH_TEXTS):
            batch = order[start : start + _BATCH_TEXTS]
            vectors[batch] = self._run([texts[position] for position in batch])
        return vectors

    def _run(self, texts: list[str]) -> Float32Array:
        token_ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]
        longest = max(map(len, token_ids))
        input_ids = np.zeros((len(token_ids), max(1, longest)), dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, tokens in enumerate(token_ids):
            input_ids[row, : len(tokens)] = tokens
            attention_mask[row, : len(tokens)] = 1
        return self._model.run({"input_ids": input_ids, "attention_mask": attention_mask})
