"""The BM25 files of titles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.release.layout import TITLE_WORDS

_WRITE = """
import sys
from pathlib import Path
import pyarrow as pa
from types import SimpleNamespace
from pipeline.release.artifacts.title_bm25 import write_title_words
titles = ["red milk", "white milk", "fresh breads", "large red apple"]
texts = [f"{title}. acme. milk to drink" for title in titles]
write_title_words(SimpleNamespace(table=pa.table({"title": titles, "text": texts})), Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return folders with the files of the same titles, written by processes that hash strings differently."""
    folders = [tmp_path_factory.mktemp("words") for _ in range(2)]
    for seed, folder in enumerate(folders):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-c", _WRITE, str(folder)], check=True, env=environment)  # noqa: S603 - ours
    return folders


def test_the_same_titles_give_the_same_files_in_every_process(written: list[Path]):
    """Every file is the same to the last byte, whatever the process' order of sets."""
    first, second = (
        {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in written
    )
    assert first == second
    assert len(first) == 4


def test_words_are_those_of_the_titles(written: list[Path]):
    """Stems, spellings and the other words of texts are in alphabetical order, with the mean length of a title."""
    content = json.loads((written[0] / TITLE_WORDS).read_text())
    assert content["words"] == ["appl", "bread", "fresh", "larg", "milk", "red", "white"]
    assert content["spellings"] == ["apple", "breads", "fresh", "large", "milk", "red", "white"]
    assert content["other_words"] == ["acme", "drink", "to"]
    assert content["mean_words"] == 2.25
