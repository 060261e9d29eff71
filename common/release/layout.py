"""The names of a release's files: what the pipeline writes and the services read."""

from __future__ import annotations

from typing import Final

CATALOGUE: Final = "catalogue.arrow"
ENCODER: Final = "encoder/model.onnx"
ENCODER_TOKENIZER: Final = "encoder/tokenizer.json"
CROSS_ENCODER: Final = "ranker/model.onnx"
CROSS_ENCODER_TOKENIZER: Final = "ranker/tokenizer.json"
RANKER_SETTINGS: Final = "ranker/ranker.json"

# The late-interaction tier, which a release need not have: the tower for items and in int8 for user contexts, the
# joint step's product, and for each distinct text its token vectors (one after the other), how many those are, its
# pooled vector and its prior.
LATE_FOLDER: Final = "late"
LATE_SETTINGS: Final = "late/late.json"
LATE_TOWER: Final = "late/tower.onnx"
LATE_CONTEXT_TOWER: Final = "late/context_tower.onnx"
LATE_PRODUCTS: Final = "late/products.onnx"
LATE_STEPS: Final = "late/steps.npy"
LATE_TOKENS: Final = "late/tokens.npy"
LATE_LENGTHS: Final = "late/lengths.npy"
LATE_POOLED: Final = "late/pooled.npy"
LATE_PRIOR: Final = "late/prior.npy"
LATE_TEXT_OF_ITEM: Final = "late/text_of_item.npy"
FUSION: Final = "fusion/model.onnx"
FUSION_SETTINGS: Final = "fusion/fusion.json"

# One vector for each distinct text, and for each item of the catalogue the row of its vector. One of two files holds
# the index over the vectors; a release with few vectors has neither, and all are compared.
HNSW_INDEX: Final = "index/hnsw.bin"
PQ_INDEX: Final = "index/pq.faiss"
VECTORS: Final = "index/vectors.npy"
VECTOR_OF_ITEM: Final = "index/vector_of_item.npy"
VOCABULARY: Final = "words/vocabulary.txt"
POPULARITY: Final = "behaviour/popularity.npy"

# BM25 over titles: for each word the items that have it, with its score there.
TITLE_WORDS: Final = "lexical/words.json"
# Version 3 has the words' stems, version 2 the words; files without a version are of version 1.
TITLE_WORDS_VERSION: Final = 3
RETRIEVAL_SETTINGS: Final = "retrieval.json"
MODEL_CARD: Final = "model_card.md"


def statistic_file(name: str) -> str:
    """Return the name of an item statistic, float32[items]."""
    return f"behaviour/statistics/{name}.npy"


def title_words_file(part: str) -> str:
    """Return the name of one array (`indptr`, `items` or `scores`) of the words of titles."""
    return f"lexical/{part}.npy"


def graph_file(name: str, part: str) -> str:
    """Return the name of one array (`indptr`, `indices` or `weights`) of an item graph."""
    return f"behaviour/{name}/{part}.npy"


def words_file(part: str) -> str:
    """Return the name of one array (`tokens`, `offsets`, `heads` or `subjects`) of the catalogue's words."""
    return f"words/{part}.npy"
