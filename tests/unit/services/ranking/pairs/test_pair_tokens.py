"""Pairs in tokens."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, processors

from common.errors import BadRelease
from common.ragged import TokenRows
from services.ranking.pairs.pair_tokens import ModelInputs, PairTemplate


def test_rows_lie_one_after_the_other():
    """Rows of different lengths keep their tokens and their order."""
    rows = TokenRows.from_rows([[1, 2, 3], [], [4]])
    assert len(rows) == 3
    assert rows.lengths.tolist() == [3, 0, 1]
    assert [rows.row(row).tolist() for row in range(3)] == [[1, 2, 3], [], [4]]


def test_taking_rows_cuts_each():
    """Rows may be taken in any order and repeatedly, each cut to the budget."""
    taken = TokenRows.from_rows([[1, 2, 3], [], [4]]).take(np.array([2, 0, 0, 1]), max_tokens=2)
    assert [taken.row(row).tolist() for row in range(4)] == [[4], [1, 2], [1, 2], []]


def test_no_rows_are_fine():
    """An empty set of rows has no tokens."""
    assert len(TokenRows.from_rows([]).truncate(3)) == 0


def test_padding_is_marked():
    """Padded columns have no attention and token type 0; the second segment has type 1."""
    pairs = PairTemplate(101, 102).join(
        TokenRows.from_rows([[7]]), np.zeros(2, np.int64), TokenRows.from_rows([[8, 9], []])
    )
    inputs = ModelInputs.from_pairs(pairs.part(1, 2), pairs.part(0, 1))
    assert inputs.input_ids.tolist() == [[101, 7, 102, 102, 0, 0], [101, 7, 102, 8, 9, 102]]
    assert inputs.attention_mask.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]
    assert inputs.token_type_ids.tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]]


def test_a_tokenizer_that_joins_otherwise_is_refused():
    """A RoBERTa-like template would make other pairs than the model was trained on."""
    tokenizer = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "[UNK]": 2}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    with pytest.raises(BadRelease, match="does not join pairs"):
        PairTemplate.from_tokenizer(tokenizer)
