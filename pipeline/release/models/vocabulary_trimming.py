"""Vocabulary trimming: a BERT with only the tokens of a shop.

Half of a MiniLM's bytes are token embeddings, most of which no item of a shop uses (Abdaoui et al., arXiv 2010.05609).
Trimming keeps the tokens of the given texts, special tokens, single characters and all continuations of words. A word
that the texts do not have is split into smaller tokens. It does not become unknown if each of its characters is a
token, both at the start of a word and inside, as in BERT's vocabularies.

WordPiece takes the longest matching token from the left. If all tokens of a word are kept, trimming adds no longer
match: the word gets the same tokens, and its scores do not change.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification, BertModel

from common.errors import InvalidRequest
from common.release.manifest import file_sha256
from pipeline.release.models.base_model import WEIGHTS, BaseModel
from pipeline.release.models.model_folder import load_model
from pipeline.release.models.tokenizer import plain_tokenizer

TOKENIZER: Final = "tokenizer.json"
_CONFIG: Final = "config.json"
_EMBEDDINGS: Final = "word_embeddings.weight"
_TEXTS_AT_ONCE: Final = 10_000


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model that are kept.

    Attributes:
        before: Number of tokens before trimming.
        kept: Former ids of the kept tokens, ascending; a token's new id is its index.
    """

    before: int
    kept: tuple[int, ...]

    def __str__(self) -> str:
        return f"{len(self.kept):,} of {self.before:,} tokens"

    @property
    def new_id(self) -> dict[int, int]:
        """New ids by former ones."""
        return {old: new for new, old in enumerate(self.kept)}


def trimmed_base(base: BaseModel, texts: Iterable[str], out: Path) -> BaseModel:
    """Write a base model that keeps the tokens of ``texts``; see `trim_model`."""
    kept = kept_tokens(plain_tokenizer(str(base.path / TOKENIZER)), texts)
    trim_model(base.path, kept, out)
    origin = f"{base.origin}, sha256 {base.sha256}, vocabulary trimmed to {kept}"
    return BaseModel(base.name, out, origin, file_sha256(out / WEIGHTS))


def untrimmed(model: BertForSequenceClassification, base: BaseModel) -> BertForSequenceClassification:
    """Return a copy of a model that grew from a trimmed base, with the whole base's tokens; training leaves them be."""
    whole = copy.deepcopy(model)
    words = load_model(BertModel, base.path).embeddings.word_embeddings
    whole.bert.embeddings.word_embeddings = words
    whole.config.vocab_size = words.num_embeddings
    return whole


def trim_model(model: Path, kept: Vocabulary, out: Path) -> None:
    """Write a model with some of its tokens.

    Args:
        model: Folder of a BERT in Hugging Face's form, as it is or fine-tuned, with its tokenizer.
        kept: The tokens.
        out: Folder to write, with config.json, model.safetensors and tokenizer.json; an existing one is replaced.

    Raises:
        InvalidRequest: The tokenizer is not of BERT's kind, or the embeddings do not match it.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    described = _described(plain_tokenizer(str(model / TOKENIZER)))
    (out / TOKENIZER).write_text(json.dumps(_renumbered(described, kept), ensure_ascii=False))
    config = json.loads((model / _CONFIG).read_text())
    padding = {"pad_token_id": kept.new_id[config["pad_token_id"]]} if config.get("pad_token_id") is not None else {}
    (out / _CONFIG).write_text(json.dumps(config | {"vocab_size": len(kept.kept)} | padding, indent=1) + "\n")
    save_file(_cut(load_file(model / WEIGHTS), kept), out / WEIGHTS, {"format": "pt"})


def kept_tokens(tokenizer: Tokenizer, texts: Iterable[str]) -> Vocabulary:
    """Return the tokens to keep.

    Args:
        tokenizer: The model's, without truncation.
        texts: Texts whose tokens must not change: the catalogue's, and known searches.

    Raises:
        InvalidRequest: The tokenizer is not a WordPiece tokenizer.
    """
    described = _described(tokenizer)
    ids: Mapping[str, int] = described["model"]["vocab"]
    prefix = described["model"]["continuing_subword_prefix"]
    special = {one["content"] for one in described["added_tokens"]} | {described["model"]["unk_token"]}
    kept = _used(tokenizer, texts)
    for token, number in ids.items():
        in_pieces = all(letter in ids and prefix + letter in ids for letter in token)
        if token in special or token.startswith(prefix) or len(token) == 1 or not in_pieces:
            kept.add(number)
    return Vocabulary(len(ids), tuple(sorted(kept)))


def _used(tokenizer: Tokenizer, texts: Iterable[str]) -> set[int]:
    used: set[int] = set()
    held: list[str] = []
    for text in texts:
        held.append(text)
        if len(held) == _TEXTS_AT_ONCE:
            used |= _ids_of(tokenizer, held)
            held = []
    return used | _ids_of(tokenizer, held)


def _ids_of(tokenizer: Tokenizer, texts: list[str]) -> set[int]:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return {number for encoding in encodings for number in encoding.ids}


def _described(tokenizer: Tokenizer) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(tokenizer.to_str())
    kind = described["model"]["type"]
    if kind != "WordPiece":
        raise InvalidRequest(f"only a WordPiece vocabulary can be trimmed, the base model's is {kind}; keep it full")
    return described


def _renumbered(described: dict[str, Any], kept: Vocabulary) -> dict[str, Any]:
    """Return a tokenizer's description with the kept tokens, and new ids in place of former ones."""
    new_id = kept.new_id
    vocabulary = {token: new_id[number] for token, number in described["model"]["vocab"].items() if number in new_id}
    added = [one | {"id": new_id[one["id"]]} for one in described["added_tokens"]]
    return described | {
        "model": described["model"] | {"vocab": vocabulary},
        "added_tokens": added,
        "post_processor": _ends_renumbered(described["post_processor"], new_id),
    }


def _ends_renumbered(processor: dict[str, Any] | None, new_id: Mapping[int, int]) -> dict[str, Any] | None:
    """Return what puts [CLS] and [SEP] around texts, in either of the forms that BERT's tokenizers have it."""
    kind = processor["type"] if processor else None
    if processor and kind == "TemplateProcessing":
        tokens = processor["special_tokens"].items()
        return processor | {
            "special_tokens": {name: one | {"ids": [new_id[old] for old in one["ids"]]} for name, one in tokens}
        }
    if processor and kind == "BertProcessing":
        return processor | {end: [processor[end][0], new_id[processor[end][1]]] for end in ("sep", "cls")}
    raise InvalidRequest(f"the base model's tokenizer puts no [CLS] and [SEP] around texts as BERT does: {kind}")


def _cut(weights: Mapping[str, torch.Tensor], kept: Vocabulary) -> dict[str, torch.Tensor]:
    names = [name for name in weights if name.endswith(_EMBEDDINGS)]
    if len(names) != 1 or len(weights[names[0]]) <= kept.kept[-1]:
        raise InvalidRequest(f"the weights have no {_EMBEDDINGS} with a row for each of {kept.before:,} tokens")
    rows = torch.from_numpy(np.array(kept.kept))
    return {name: value[rows].contiguous() if name == names[0] else value for name, value in weights.items()}
