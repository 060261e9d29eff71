"""The text encoder, with a model that records its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from services.retrieval.encoding.text_encoder import DEFAULT_MAX_TOKENS, OnnxTextEncoder


class Recorder:
    """A model whose embedding of a text is its sum of token ids and its length."""

    provider = "recorder"
    file = Path("model.onnx")

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Return [n, 2] and record the shape."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        assert ids.dtype == mask.dtype == np.int64
        self.shapes.append(ids.shape)
        return np.stack([(ids * mask).sum(axis=1), mask.sum(axis=1)], axis=1).astype(np.float32)


@pytest.fixture
def tokenizer() -> Tokenizer:
    """Return a tokenizer of digits: each is a token with its value as id."""
    tokenizer = Tokenizer(models.WordLevel({str(digit): digit for digit in range(10)}, unk_token="9"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_padding_is_masked_and_order_kept(tokenizer: Tokenizer):
    """Texts of different lengths share a batch; padding is masked, and results keep the order of the texts."""
    encoder = OnnxTextEncoder(Recorder(), tokenizer)
    assert encoder.encode(["1 2 3", "4", "5 5"]).tolist() == [[6, 3], [4, 1], [10, 2]]


def test_texts_are_truncated_to_the_tokenizers_bound(tokenizer: Tokenizer):
    """The tokenizer's file sets the length."""
    tokenizer.enable_truncation(2)
    encoder = OnnxTextEncoder(Recorder(), tokenizer)
    assert encoder.max_tokens == 2
    assert encoder.encode(["1 2 3 4"]).tolist() == [[3, 2]]


def test_texts_are_truncated_without_a_tokenizers_bound(tokenizer: Tokenizer):
    """If the tokenizer sets no length, the default holds."""
    encoder = OnnxTextEncoder(Recorder(), tokenizer)
    assert encoder.encode(["1 " * 5_000]).tolist() == [[DEFAULT_MAX_TOKENS, DEFAULT_MAX_TOKENS]]


def test_long_texts_do_not_pad_short_ones(tokenizer: Tokenizer):
    """Short and long texts are put into different batches."""
    model = Recorder()
    texts = ["1 " * 50, "1"] * 32
    vectors = OnnxTextEncoder(model, tokenizer).encode(texts)
    assert model.shapes[1:] == [(32, 1), (32, 50)]
    assert vectors[:, 1].tolist() == [50, 1] * 32


def test_no_texts(tokenizer: Tokenizer):
    """No texts have no embeddings; the empty text has one."""
    encoder = OnnxTextEncoder(Recorder(), tokenizer)
    assert encoder.encode([]).shape == (0, 2)
    assert encoder.encode([""]).shape == (1, 2)


@pytest.mark.parametrize(
    "vocabulary", [["[UNK]", "bears", "##bea", "4", "Milk"], ["<unk>", "▁bears", "bea", "▁4", "▁Milk"]]
)
def test_words_of_one_token_are_known(vocabulary: list[str]):
    """Parts of words, numbers and special tokens are no words, in WordPiece and in SentencePiece."""
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=vocabulary[0]))
    assert OnnxTextEncoder(Recorder(), tokenizer).words == {"bears", "milk"}
