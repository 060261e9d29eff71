"""Exported graphs cached with the weights that they come from."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from pipeline.learning.training_loop.run import load_base
from pipeline.release.export import cached_export

FIRST, SECOND = "_GRAPH = 1\n", "_GRAPH = 2\n"


@pytest.fixture
def model(tiny_base_model: Path, tmp_path: Path) -> Path:
    """A cross-encoder in Hugging Face's form."""
    load_base(tiny_base_model, 2).save_pretrained(tmp_path)
    return tmp_path


def test_a_graph_is_written_once(model: Path):
    """The second time finds it."""
    file = cached_export.exported_cross_encoder(model)
    written = file.stat().st_mtime_ns
    assert cached_export.exported_cross_encoder(model) == file
    assert file.stat().st_mtime_ns == written


def test_a_graph_of_other_code_is_not_taken_for_its_own(model: Path, monkeypatch: pytest.MonkeyPatch):
    """Weights outlive the code around them: what it wrote before may be slower, or wrong."""
    before = cached_export.exported_cross_encoder(model)
    monkeypatch.setattr(cached_export, "_GRAPH", "anothers")
    after = cached_export.exported_cross_encoder(model)
    assert after != before
    assert after.exists()


def _module(tmp_path: Path, name: str, source: str) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = str(tmp_path / f"{name}.py")
    Path(module.__file__).write_text(source)
    return module


def test_what_modules_write_is_told_by_their_source(tmp_path: Path):
    """The same source has one name, and each change another."""
    one, same, other = (_module(tmp_path, name, text) for name, text in (("a", FIRST), ("b", FIRST), ("c", SECOND)))
    assert cached_export.written_by(one) == cached_export.written_by(same)
    assert len({cached_export.written_by(*modules) for modules in ((one,), (other,), (one, other))}) == 3
