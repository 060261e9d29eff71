"""Teaching a shallower cross-encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from rich.console import Console

from common.errors import InvalidRequest
from common.ragged import TokenRows
from pipeline.build.search.search_models import SearchModels
from pipeline.learning.examples.judged_queries import JudgedQuery
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.examples.text_pairs import score_pairs
from pipeline.learning.trainers.distillation import keep_layers, spread, train_student, with_teacher_labels
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.learning.training_loop.run import collate, load_base
from pipeline.progress import ProgressReport, ProgressStep
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.training_settings import CrossEncoderTraining
from pipeline.release.export.cached_export import loaded_cross_encoder
from pipeline.release.models.base_model import resolve_base_model
from pipeline.release.models.tokenizer import plain_tokenizer
from services.ranking.pairs.pair_tokens import PairTemplate

TEMPLATE = PairTemplate(2, 3)


def _examples(count: int) -> list[RankingExample]:
    """Return lists of the same four items, none of which was bought, in different contexts."""
    items = TokenRows.from_rows([[10], [11], [12], [13]])
    every = [TEMPLATE.join(items, np.full(4, number % 4), items) for number in range(count)]
    return [RankingExample(pairs, np.zeros(4, np.float32)) for pairs in every]


@pytest.mark.parametrize(("layers", "count", "kept"), [(6, 3, [0, 2, 4]), (6, 2, [0, 3]), (12, 4, [0, 3, 6, 9])])
def test_the_layers_that_stay_are_spread(layers: int, count: int, kept: list[int]):
    """Every second layer of six stays for three, from the lowest on."""
    assert spread(layers, count) == kept


def test_a_student_begins_as_some_of_its_teacher(tiny_base_model: Path):
    """Its layer is the teacher's lowest, its head the teacher's; as many layers as the teacher has are refused."""
    teacher, student = load_base(tiny_base_model, 2), load_base(tiny_base_model, 2)
    student.load_state_dict(teacher.state_dict())
    keep_layers(student, 1)
    assert len(student.bert.encoder.layer) == student.config.num_hidden_layers == 1
    wanted = {name: value for name, value in teacher.state_dict().items() if "encoder.layer.1." not in name}
    assert student.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[name]) for name, value in student.state_dict().items())
    for count in (0, 2):
        with pytest.raises(InvalidRequest, match=f"not {count}"):
            keep_layers(teacher, count)


def test_labels_are_half_the_teachers():
    """The mean of the label and of the probability that the teacher gives."""
    example = RankingExample(_examples(1)[0].pairs, np.array([0.5, 1, 1, 0], np.float32))
    taught = with_teacher_labels(example, np.array([0, 0, 20, -20], np.float32))
    assert taught.pairs is example.pairs
    np.testing.assert_allclose(taught.labels, [0.5, 0.75, 1.0, 0.0], atol=1e-6)


def test_a_student_learns_what_its_teacher_says(tiny_base_model: Path, tmp_path: Path):
    """Where no label tells items apart, it comes to prefer the one that its teacher prefers."""
    examples, said = _examples(128), np.array([-4, 4, -4, -4], np.float32)
    settings = CrossEncoderTraining(layers=1, learning_rate=1e-2, head_learning_rate=1e-2, epochs=5, seed=1)
    teacher = load_base(tiny_base_model, 2)
    student = train_student(teacher, examples, [said] * 128, settings, tmp_path / "work", lambda *_: None)
    batch = collate(examples[:4])
    with torch.inference_mode():
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        logits = student(**inputs).logits.reshape(4, 4)
    assert (logits.argmax(1) == 1).all()
    assert len(student.bert.encoder.layer) == 1


def test_the_student_of_judged_queries_is_trained_once(
    tiny_base_model: Path, tiny_settings: BuildSettings, tiny_items: pl.DataFrame, tmp_path: Path
):
    """It is cached next to its teacher, loads as the engines do, and is found again without training."""
    base, report = resolve_base_model(str(tiny_base_model)), ProgressReport(Console(quiet=True))
    catalogue = build_catalogue(tiny_items, plain_tokenizer(str(tiny_base_model / "tokenizer.json")), 16)
    models = SearchModels(base, tiny_settings, catalogue, ModelCache(tmp_path, tiny_base_model), report)
    queries = [
        JudgedQuery(f"red {word}", np.arange(place, place + 3), np.array([1, 0, 0.5], np.float32))
        for place, word in enumerate(("milk", "soap", "bread", "pear"))
    ]
    student = models.student(queries, 1)
    assert sorted(folder.name.rpartition("-")[0] for folder in tmp_path.iterdir()) == ["cross-encoder", "student-1"]
    logits = score_pairs(
        loaded_cross_encoder(student), [models.pairs(one) for one in queries], ProgressStep(None, "", None)
    )
    assert [len(one) for one in logits] == [3] * 4
    stamp = (student / "done.json").stat().st_mtime_ns
    assert models.student(queries, 1) == student
    assert (student / "done.json").stat().st_mtime_ns == stamp
