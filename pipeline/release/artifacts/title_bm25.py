"""The words of titles, scored by BM25, as the first stage's lexical source reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import bm25s
import numpy as np

from common.release.catalogue import Catalogue
from common.release.layout import TITLE_WORDS, title_words_file
from common.text import words

# As Lucene and most evaluations of BM25 have them.
_K1: Final = 1.2


_B: Final = 0.75


def write_title_words(catalogue: Catalogue, folder: Path) -> None:
    """Write the words of a catalogue's titles into a release's folder."""
    titles = [words(title) for title in catalogue.table["title"].to_pylist()]
    index = bm25s.BM25(k1=_K1, b=_B, method="lucene")
    index.index(titles, create_empty_token=False, show_progress=False)
    known = sorted(index.vocab_dict, key=index.vocab_dict.__getitem__)
    told = {"k1": _K1, "b": _B, "mean_words": float(np.mean([len(title) for title in titles])), "words": known}
    file = folder / TITLE_WORDS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told, ensure_ascii=False))
    arrays = {
        "indptr": (index.scores["indptr"], np.int64),
        "items": (index.scores["indices"], np.int32),
        "scores": (index.scores["data"], np.float32),
    }
    for part, (values, kind) in arrays.items():
        np.save(folder / title_words_file(part), np.asarray(values, dtype=kind))
