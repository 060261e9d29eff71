"""Keeping trained models."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertModel

from pipeline.learning.trainers.model_cache import ModelCache


@pytest.fixture
def kept(tmp_path: Path, tiny_base_model: Path) -> ModelCache:
    """A place with nothing in it."""
    return ModelCache(tmp_path / "models", tiny_base_model)


def test_the_same_model_is_trained_once(kept: ModelCache, tiny_base_model: Path):
    """What was made from the same things is found again, with its tokenizer; from other things it is trained."""
    trained: list[Path] = []

    def train(work: Path) -> BertModel:
        trained.append(work)
        return BertModel.from_pretrained(tiny_base_model)

    first = kept.get("encoder", [1, {"rate": 0.1}], train)
    assert kept.get("encoder", [1, {"rate": 0.1}], train) == first
    assert kept.get("encoder", [2, {"rate": 0.1}], train) != first
    assert len(trained) == 2
    assert (first / "tokenizer.json").read_bytes() == (tiny_base_model / "tokenizer.json").read_bytes()
    assert BertModel.from_pretrained(first).config.hidden_size == 32


def test_a_training_that_broke_off_goes_on_in_its_folder(kept: ModelCache, tiny_base_model: Path):
    """Its checkpoints are there the next time, and gone when the model is."""

    def broken(work: Path) -> BertModel:
        work.mkdir(parents=True)
        (work / "checkpoint-1").touch()
        raise KeyboardInterrupt

    def going_on(work: Path) -> BertModel:
        assert (work / "checkpoint-1").exists()
        return BertModel.from_pretrained(tiny_base_model)

    with pytest.raises(KeyboardInterrupt):
        kept.get("encoder", [1], broken)
    folder = kept.get("encoder", [1], going_on)
    assert not (folder / "checkpoints").exists()
