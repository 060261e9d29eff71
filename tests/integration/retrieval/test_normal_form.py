"""One text, however it is written: from raw items or by upsert, to both stages and to lexical search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from shortlist.ranking.v1 import ranking_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.changes.codec import read_texts
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE, TITLE_WORDS
from common.release.store import open_release
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.artifacts.title_bm25 import write_title_words
from services.ranking.features.word_index import WordIndex
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.server.request_messages import parse_candidates
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.stemming import title_stems
from services.retrieval.changes.change import Change

PLAIN = "milk 500ml 1 1/2"
WRITTEN = (  # full-width letters, digits and space; a fraction of one character; characters that are not seen
    "ｍｉｌｋ\u3000５００ｍｌ １\u00bd",
    " mi\u200blk  500m\u00adl\t1\u00bd ",
)


@pytest.fixture
def catalogue(tiny_release: Path) -> Catalogue:
    """Return a catalogue of the same item in every way of writing, tokenised as the tiny shop's release."""
    release = open_release(str(tiny_release))
    tokenizer = PairTokenizer.load(release, Catalogue.open(release.file(CATALOGUE)))._tokenizer
    titles = [PLAIN, *WRITTEN]
    items = pl.DataFrame({"item_id": [str(at) for at in range(len(titles))], "title": titles, "brand": titles[::-1]})
    return build_catalogue(items, tokenizer, 16)


def test_raw_items_are_one_text_to_the_models(catalogue: Catalogue):
    """The text, which the encoder embeds, and the cross-encoder's tokens are those of the plain form."""
    assert catalogue.table["text"].to_pylist() == [PLAIN] * len(catalogue)  # the brand is in the title
    for row in range(len(catalogue)):
        assert catalogue.token_ids(row).tolist() == catalogue.token_ids(0).tolist()
    assert catalogue.title(1) == WRITTEN[0]  # for people as the shop wrote it


def test_raw_items_are_one_text_to_lexical_search_and_features(catalogue: Catalogue, tmp_path: Path):
    """Titles have the same words, in BM25 and in the second stage's features."""
    write_title_words(catalogue, tmp_path)
    assert json.loads((tmp_path / TITLE_WORDS).read_text())["words"] == ["1", "2", "500", "milk", "ml"]
    index = WordIndex.from_texts(catalogue.table["title"].to_pylist())
    rows = [[index.vocabulary[word] for word in index.rows.row(row)] for row in range(len(catalogue))]
    assert rows == [["milk", "500", "ml", "1.5"]] * len(catalogue)


@pytest.mark.parametrize("written", WRITTEN)
async def test_an_upserted_item_is_one_text_to_the_first_stage(service: Any, written: str):
    """Items upserted in different forms get the same score from every source, with a query in either form."""
    items = [("plain", PLAIN), ("other", written)]
    await service.upsert(*(retrieval_pb2.Item(item_id=item, title=title, available=True) for item, title in items))
    scores = []
    for query in (PLAIN, written):
        answer = await service.retrieve(query=query, keep_query=True, include_item_ids=["plain", "other"])
        found = {one.item_id: {each.source: each.score for each in one.sources} for one in answer.candidates}
        assert "semantic" in found["plain"]
        assert found["other"] == found["plain"]
        scores.append(found["plain"])
    assert scores[0] == scores[1]
    postings = service.stage().snapshot.delta.storage.titles
    for word in title_stems(PLAIN):
        numbers, frequencies, lengths = postings.with_word(word, 2)
        assert (numbers.tolist(), frequencies[0], lengths[0]) == ([0, 1], frequencies[1], lengths[1])
    stored = {one.item_id: one.title for one in (await service.read("plain", "other")).items}
    assert stored["other"] != PLAIN


@pytest.mark.parametrize("written", WRITTEN)
def test_a_pair_is_one_text_to_the_second_stage(tiny_release: Path, written: str):
    """Contexts, texts in requests and texts of followed changes are in normal form."""
    release = open_release(str(tiny_release))
    known = Catalogue.open(release.file(CATALOGUE))
    maker = PairTokenizer.load(release, known)
    assert maker.context(written, []).tolist() == maker.context(PLAIN, []).tolist()
    given = [ranking_pb2.RankCandidate(text=text) for text in (PLAIN, written)]
    assert parse_candidates(given, known, ()).texts == {0: PLAIN, 1: PLAIN}
    change = Change((Item("plain", PLAIN), Item("other", written)), np.zeros((2, 1), np.float32), "sha256")
    assert read_texts(change.to_bytes()) == {"plain": PLAIN, "other": PLAIN}
