"""Joining token ids is the tokenizer's own pair encoding."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from common.ragged import TokenRows
from services.ranking.pairs.pair_tokens import ModelInputs, PairTemplate

# A busy machine is no fault.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = ["milk", "bread", "##s", "a", "b", "##a", "##b", "gal", "2", "%", ";", "|", "."]
VOCABULARY = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}


def _bert() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


TOKENIZER = _bert()
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(["milk", "breads", "ab", "2%", "gal;"])).map(" ".join))


def _encode(text: str, longest: int) -> Any:
    encoding = TOKENIZER.encode(text, add_special_tokens=False)
    encoding.truncate(longest)
    return encoding


@UNHURRIED
@given(st.lists(TEXTS, min_size=1, max_size=3), st.lists(TEXTS, max_size=8), st.data())
def test_joined_pairs_are_what_the_tokenizer_makes(contexts: list[str], items: list[str], data: st.DataObject):
    """Ids, token types and attention equal those of the tokenizer's post-processor, each side cut to its budget."""
    context_tokens, item_tokens = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    context_of = np.array([data.draw(st.integers(0, len(contexts) - 1)) for _ in items], dtype=np.int64)
    ids = [
        TokenRows.from_rows([TOKENIZER.encode(text, add_special_tokens=False).ids for text in texts])
        for texts in (contexts, items)
    ]
    pairs = PairTemplate.from_tokenizer(TOKENIZER).join(
        ids[0].truncate(context_tokens), context_of, ids[1].truncate(item_tokens)
    )
    inputs = ModelInputs.from_pairs(pairs)
    for row, (item, context) in enumerate(zip(items, context_of, strict=True)):
        expected = TOKENIZER.post_process(_encode(contexts[context], context_tokens), _encode(item, item_tokens))
        padding = inputs.input_ids.shape[1] - len(expected.ids)
        assert inputs.input_ids[row].tolist() == expected.ids + [0] * padding
        assert inputs.token_type_ids[row].tolist() == expected.type_ids + [0] * padding
        assert inputs.attention_mask[row].tolist() == expected.attention_mask + [0] * padding
