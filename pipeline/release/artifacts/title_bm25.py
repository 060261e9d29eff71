"""BM25 scores of the words in titles, for the source `lexical`, and the words by which queries are repaired."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Final

import bm25s
import numpy as np

from common.release.catalogue import Catalogue
from common.release.layout import TITLE_WORDS, TITLE_WORDS_VERSION, title_words_file
from common.text import title_words
from services.retrieval.catalogue.stemming import title_stems

# The best for Home Depot's training queries (`python -m benchmarks language-lexical`): a title that repeats a word is
# seldom more about it.
_K1: Final = 0.4
_B: Final = 0.75


def write_title_words(catalogue: Catalogue, folder: Path) -> None:
    """Write the words of a catalogue's titles into a release's folder."""
    all_titles = catalogue.table["title"].to_pylist()
    titles = [title_stems(title) for title in all_titles]
    spellings = {word for title in set(all_titles) for word in title_words(title)}
    # bm25s numbers words in the order of a set, which differs between processes: the same data must give the same file.
    vocabulary = {word: number for number, word in enumerate(sorted({word for title in titles for word in title}))}
    index = bm25s.BM25(k1=_K1, b=_B, method="lucene")
    numbers = [[vocabulary[word] for word in title] for title in titles]
    index.index((numbers, vocabulary), create_empty_token=False, show_progress=False)
    mean_words = float(np.mean([len(title) for title in titles]))
    content = {
        "version": TITLE_WORDS_VERSION,
        "k1": _K1,
        "b": _B,
        "mean_words": mean_words,
        "words": list(vocabulary),
        "spellings": sorted(spellings),
        "other_words": _other_words(catalogue, spellings),
    }
    file = folder / TITLE_WORDS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False))
    arrays = {
        "indptr": (index.scores["indptr"], np.int64),
        "items": (index.scores["indices"], np.int32),
        "scores": (index.scores["data"], np.float32),
    }
    for part, (values, kind) in arrays.items():
        np.save(folder / title_words_file(part), np.asarray(values, dtype=kind))


def _other_words(catalogue: Catalogue, spellings: Container[str]) -> list[str]:
    """Return the words of brands, categories and descriptions that no title has: they are no typing errors."""
    texts = set(catalogue.table["text"].to_pylist())
    return sorted({word for text in texts for word in title_words(text) if word not in spellings})
