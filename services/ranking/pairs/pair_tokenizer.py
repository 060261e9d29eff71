"""Turns users and items into the cross-encoder's tokens, the same way offline and online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer

from common.arrays import RowIndices, TokenIds
from common.errors import BadRelease
from common.ragged import TokenRows
from common.release.catalogue import Catalogue
from common.release.layout import CROSS_ENCODER_TOKENIZER
from common.release.store import Release
from common.text import context_text, recent_distinct
from services.ranking.pairs.pair_tokens import PairTemplate
from services.ranking.pairs.score_cache import ItemKey
from services.ranking.release_settings import RankerSettings


class PairTokenizer:
    """Turns user contexts and items into tokens, each cut to its maximum. Safe to share between threads."""

    def __init__(self, catalogue: Catalogue, tokenizer: Tokenizer, settings: RankerSettings) -> None:
        self.template = PairTemplate.from_tokenizer(tokenizer)
        self.settings = settings
        self._catalogue = catalogue
        self._catalogue_tokens = TokenRows(catalogue.tokens, catalogue.token_offsets.astype(np.int64))
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, release: Release, catalogue: Catalogue) -> PairTokenizer:
        """Load tokenizer and settings of a release; raises BadRelease if they cannot be used."""
        file = release.file(CROSS_ENCODER_TOKENIZER)
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:
            raise BadRelease(f"release {release.id}: {file.name} cannot be used: {error}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(catalogue, tokenizer, RankerSettings.load(release))

    def context_items(self, history: RowIndices) -> list[int]:
        """Return the rows of the history items in the context, the most recent first."""
        return recent_distinct(history.tolist(), self.settings.context_items)

    def context(self, query: str, items: Sequence[int]) -> TokenIds:
        """Return the tokens of a user context: the query and the titles of history items; int32[tokens]."""
        text = context_text(query, (self._catalogue.title(row) for row in items))
        return self.tokens([text], self.settings.context_tokens).tokens

    def items(self, rows: RowIndices, texts: Mapping[int, str]) -> tuple[TokenRows, list[ItemKey]]:
        """Return candidates' tokens, and keys that identify their texts.

        Args:
            rows: Catalogue rows, -1 for an item given by its text alone; shape [candidates].
            texts: Texts to read instead of the catalogue's, by the candidate's index.
        """
        keys: list[ItemKey] = rows.tolist()
        tokens = self._catalogue_tokens.take(np.maximum(rows, 0), self.settings.item_tokens)
        if not texts:
            return tokens, keys
        given = self.tokens(list(texts.values()), self.settings.item_tokens)
        all_tokens = [tokens.row(index) for index in range(len(rows))]
        for text, index in enumerate(texts):
            all_tokens[index] = given.row(text)
            keys[index] = given.row(text).tobytes()
        return TokenRows.from_rows(all_tokens), keys

    def item_text(self, row: int) -> str:
        """Return the text of a catalogue item."""
        return self._catalogue.text(row)

    def tokens(self, texts: Sequence[str], max_tokens: int) -> TokenRows:
        """Tokenise texts without special tokens, each cut to ``max_tokens``."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return TokenRows.from_rows([encoding.ids[:max_tokens] for encoding in encodings])
