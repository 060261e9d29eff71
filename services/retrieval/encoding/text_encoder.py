"""Texts to embeddings: tokenizer and ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from tokenizers import Tokenizer

from common.arrays import Float32Array
from common.onnx_session import OnnxModel, SessionOptions
from common.release.layout import ENCODER, ENCODER_TOKENIZER
from common.release.store import Release

# Where the tokenizer's file sets no bound: what all-MiniLM-L6-v2 was trained with.
DEFAULT_MAX_TOKENS: Final = 256


_BATCH_TEXTS: Final = 32


class TextEncoder(Protocol):
    """Anything that embeds texts."""

    @property
    def dimension(self) -> int:
        """Return how many numbers an embedding has."""
        ...

    @property
    def provider(self) -> str:
        """Return the execution provider that runs the model."""
        ...

    def encode(self, texts: Sequence[str]) -> Float32Array:
        """Embed texts as unit vectors; shape [texts, dimension]. Safe for threads."""
        ...


class OnnxTextEncoder:
    """Embeds texts with a model that pools and normalises itself.

    Args:
        model: Takes `input_ids` and `attention_mask`, int64 [n, tokens]; gives unit vectors, float32 [n, dimension].
        tokenizer: The model's. Texts are cut to the length that its file asks for.
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

    def encode(self, texts: Sequence[str]) -> Float32Array:
        """Embed texts; see `TextEncoder.encode`. Batches of like lengths, so that little is padding."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
        for start in range(0, len(order), _BATCH_TEXTS):
            batch = order[start : start + _BATCH_TEXTS]
            vectors[batch] = self._run([texts[position] for position in batch])
        return vectors

    def _run(self, texts: list[str]) -> Float32Array:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]
        longest = max(len(tokens) for tokens in ids)
        input_ids = np.zeros((len(ids), max(1, longest)), dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, tokens in enumerate(ids):
            input_ids[row, : len(tokens)] = tokens
            attention_mask[row, : len(tokens)] = 1
        return self._model.run({"input_ids": input_ids, "attention_mask": attention_mask})
