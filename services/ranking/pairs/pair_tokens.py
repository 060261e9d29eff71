"""Pairs of user context and item in tokens: joined without tokenising items again, and padded into batches.

Rows of different lengths are stored in one array with offsets, so that a request of 2,000 pairs costs a few numpy calls
instead of 2,000 Python objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from common.arrays import Int64Array
from common.errors import BadRelease
from common.ragged import TokenRows, offsets_from_lengths, ragged_indices


@dataclass(frozen=True)
class TokenPairs:
    """Pairs ready for the model, not yet padded.

    Attributes:
        rows: ``[CLS] context [SEP] item [SEP]`` of each pair.
        item_starts: The index in its row at which each pair's second segment begins; shape [pairs].
    """

    rows: TokenRows
    item_starts: Int64Array

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Int64Array:
        """How many tokens each pair has, special tokens included; shape [pairs]."""
        return self.rows.lengths

    def part(self, start: int, stop: int) -> TokenPairs:
        """Return the pairs from ``start`` to ``stop``; views."""
        return TokenPairs(self.rows.slice(start, stop), self.item_starts[start:stop])

    def take(self, indices: Int64Array) -> TokenPairs:
        """Return some pairs, in the order of ``indices``."""
        return TokenPairs(self.rows.take(indices), self.item_starts[indices])


@dataclass(frozen=True)
class ModelInputs:
    """The cross-encoder's inputs, each int64[rows, tokens]."""

    input_ids: Int64Array
    attention_mask: Int64Array
    token_type_ids: Int64Array

    @classmethod
    def from_pairs(cls, *parts: TokenPairs) -> ModelInputs:
        """Concatenate pairs, padded to the longest of them."""
        ends = np.concatenate([pairs.lengths for pairs in parts])[:, None]
        item_starts = np.concatenate([pairs.item_starts for pairs in parts])[:, None]
        columns = np.arange(ends.max(initial=0))
        inside = columns < ends
        ids = np.zeros(inside.shape, dtype=np.int64)
        ids[inside] = np.concatenate([pairs.rows.tokens for pairs in parts])
        return cls(ids, inside.astype(np.int64), (inside & (columns >= item_starts)).astype(np.int64))

    def part(self, start: int, stop: int) -> ModelInputs:
        """Return some of the rows; views."""
        return ModelInputs(*(array[start:stop] for array in (self.input_ids, self.attention_mask, self.token_type_ids)))

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class PairTemplate:
    """The special tokens of a pair: CLS before the context, SEP after it and after the item."""

    cls_id: int
    sep_id: int

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> PairTemplate:
        """Read the tokenizer's special tokens; raises BadRelease if it joins pairs in another way."""
        empty = tokenizer.encode("", "")
        ids, types = empty.ids, empty.type_ids
        if len(ids) != len(("cls", "sep", "sep")) or ids[1] != ids[2] or types != [0, 0, 1]:
            raise BadRelease(
                "the cross-encoder's tokenizer does not join pairs as [CLS] a [SEP] b [SEP] with token types 0 and 1; "
                "build the release from a BERT model"
            )
        return cls(ids[0], ids[1])

    def join(self, contexts: TokenRows, context_of: Int64Array, items: TokenRows) -> TokenPairs:
        """Join each item with its context.

        Args:
            contexts: User contexts without special tokens.
            context_of: The row in ``contexts`` of each item's context; shape [items].
            items: Items without special tokens.
        """
        context_lengths, item_lengths = contexts.lengths[context_of], items.lengths
        offsets = offsets_from_lengths(context_lengths + item_lengths + 3)
        starts = offsets[:-1]
        item_starts = context_lengths + 2
        tokens = np.empty(offsets[-1], dtype=np.int32)
        tokens[starts] = self.cls_id
        tokens[starts + item_starts - 1] = self.sep_id
        tokens[offsets[1:] - 1] = self.sep_id
        tokens[ragged_indices(starts + 1, context_lengths)] = contexts.take(context_of).tokens
        tokens[ragged_indices(starts + item_starts, item_lengths)] = items.tokens[: items.offsets[-1]]
        return TokenPairs(TokenRows(tokens, offsets), item_starts)
