"""Trimming a model's vocabulary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import BertModel

from common.errors import InvalidRequest
from pipeline.learning.training_loop.run import load_base, load_trained
from pipeline.release.models.base_model import resolve_base_model
from pipeline.release.models.tokenizer import plain_tokenizer
from pipeline.release.models.vocabulary_trimming import kept_tokens, trim_model, trimmed_base, untrimmed

TEXTS = ("Red milk, 12 oz.", "white bread")
TITLES = ("galvanized steel screws 3-1/2 in.", "wall-mounted cabinet door", "GE 5.0 cu. ft. electric range")
WORDS = ("steel", "wall", "5.0", "GE", "café", "unseen", "3d", "galvanise")


@pytest.fixture(scope="module")
def whole(tiny_base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder in Hugging Face's form, with its tokenizer."""
    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(4)
    load_base(tiny_base_model, 2).save_pretrained(folder)
    shutil.copy(tiny_base_model / "tokenizer.json", folder)
    return folder


@pytest.fixture(scope="module")
def trimmed(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the tokens of two texts."""
    folder = tmp_path_factory.mktemp("trimmed") / "model"
    trim_model(whole, kept_tokens(_tokenizer(whole), TEXTS), folder)
    return folder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Tokenizer]:
    """MiniLM's tokenizer, and the one of a shop with three titles."""
    base = resolve_base_model("all-MiniLM-L6-v2")
    shop = trimmed_base(base, TITLES, tmp_path_factory.mktemp("minilm"))
    return _tokenizer(base.path), _tokenizer(shop.path)


def _tokenizer(folder: Path) -> Tokenizer:
    return plain_tokenizer(str(folder / "tokenizer.json"))


def _inputs(folder: Path, pairs: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
    tokenizer = _tokenizer(folder)
    tokenizer.enable_padding()
    encodings = tokenizer.encode_batch(list(pairs))
    names = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {name: torch.tensor([getattr(one, of) for one in encodings]) for name, of in names.items()}


def test_tokens_of_texts_special_ones_characters_and_continuations_stay(whole: Path, trimmed: Path):
    """Words that no text has are gone, and the kept ones get new ids in the former order."""
    before, after = _tokenizer(whole).get_vocab(), _tokenizer(trimmed).get_vocab()
    gone = set(before) - set(after)
    assert {"cheese", "soap", "dairy", "acme", "fresh"} <= gone
    assert {"red", "milk", "white", "bread", "[PAD]", "[MASK]", "k", "##k", "-"} <= set(after)
    assert all(len(word) > 1 and not word.startswith(("##", "[")) for word in gone)
    assert sorted(after, key=after.__getitem__) == sorted(after, key=before.__getitem__)
    assert sorted(after.values()) == list(range(len(after)))


def test_texts_of_kept_tokens_score_exactly_as_before(whole: Path, trimmed: Path):
    """Logits are equal to the last bit, also of words that go together otherwise; the file is smaller."""
    pairs = [("red bread", TEXTS[0]), ("1, 2", "white milk"), ("", "bread")]
    with torch.inference_mode():
        wanted, got = (load_trained(folder)(**_inputs(folder, pairs)).logits for folder in (whole, trimmed))
    assert torch.equal(wanted, got)
    assert (trimmed / "model.safetensors").stat().st_size < (whole / "model.safetensors").stat().st_size


def test_unseen_words_fall_into_pieces(whole: Path, trimmed: Path):
    """A word that was dropped is spelt."""
    assert _tokenizer(whole).encode("red soap", add_special_tokens=False).tokens == ["red", "soap"]
    assert _tokenizer(trimmed).encode("red soap", add_special_tokens=False).tokens == ["red", "s", "##o", "##a", "##p"]


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_every_word_can_still_be_read(tokenizers: tuple[Tokenizer, Tokenizer], text: str):
    """With MiniLM's vocabulary, whatever the text: what was known is known, and spells the same."""
    whole, shop = tokenizers
    for word in text.split():
        before, after = (one.encode(word, add_special_tokens=False).tokens for one in (whole, shop))
        assert ("[UNK]" in after) <= ("[UNK]" in before)
        if "[UNK]" not in before:
            assert _spelt(after) == _spelt(before)
        if None not in map(shop.token_to_id, before):
            assert after == before


def _spelt(tokens: Sequence[str]) -> str:
    return "".join(token.removeprefix("##") for token in tokens)


def test_pairs_are_joined_as_before(tokenizers: tuple[Tokenizer, Tokenizer]):
    """[CLS] and [SEP] stand where they stood, by their new ids, and padding is still 0."""
    whole, shop = (one.encode("steel door", "wall") for one in tokenizers)
    assert shop.tokens == whole.tokens
    assert shop.type_ids == whole.type_ids
    assert shop.ids == [tokenizers[1].token_to_id(token) for token in whole.tokens]
    assert tokenizers[1].token_to_id("[PAD]") == 0


def test_a_trimmed_base_says_what_it_came_from(tiny_base_model: Path, tmp_path: Path):
    """The origin names the whole base's hash and both sizes; the weights load, and the whole ones come back."""
    base = resolve_base_model(str(tiny_base_model))
    shop = trimmed_base(base, TEXTS, tmp_path / "shop")
    tokens = len(_tokenizer(shop.path).get_vocab())
    assert shop.sha256 != base.sha256
    assert f"sha256 {base.sha256}, vocabulary trimmed to {tokens} of " in shop.origin
    assert BertModel.from_pretrained(shop.path).config.vocab_size == tokens
    again = untrimmed(load_base(shop.path, 2), base).bert.embeddings.word_embeddings.weight
    assert torch.equal(again, BertModel.from_pretrained(base.path).embeddings.word_embeddings.weight)


def test_both_forms_of_bert_processing_are_renumbered(whole: Path, tmp_path: Path):
    """The older form, as vocabularies converted from BERT's files have it, makes the same pairs."""
    model = tmp_path / "model"
    shutil.copytree(whole, model)
    described = json.loads((model / "tokenizer.json").read_text())
    ends = {name: [f"[{name.upper()}]", described["model"]["vocab"][f"[{name.upper()}]"]] for name in ("sep", "cls")}
    described["post_processor"] = {"type": "BertProcessing", **ends}
    (model / "tokenizer.json").write_text(json.dumps(described))
    trim_model(model, kept_tokens(_tokenizer(model), TEXTS), tmp_path / "trimmed")
    wanted, got = (_tokenizer(folder).encode("red milk", "bread").tokens for folder in (model, tmp_path / "trimmed"))
    assert got == wanted


def test_other_tokenizers_are_refused(whole: Path, tmp_path: Path):
    """A vocabulary that is no WordPiece, ends that are not BERT's, weights of another size: each is named."""
    with pytest.raises(InvalidRequest, match="WordPiece"):
        kept_tokens(Tokenizer(models.BPE()), TEXTS)
    kept = kept_tokens(_tokenizer(whole), TEXTS)
    without_ends, shorter = tmp_path / "ends", tmp_path / "shorter"
    for folder in (without_ends, shorter):
        shutil.copytree(whole, folder)
    described = json.loads((whole / "tokenizer.json").read_text())
    (without_ends / "tokenizer.json").write_text(json.dumps(described | {"post_processor": None}))
    with pytest.raises(InvalidRequest, match=r"\[CLS\] and \[SEP\]"):
        trim_model(without_ends, kept, tmp_path / "out")
    cut = load_trained(whole)
    cut.resize_token_embeddings(10)
    cut.save_pretrained(shorter)
    with pytest.raises(InvalidRequest, match="a row for each of"):
        trim_model(shorter, kept, tmp_path / "out")
