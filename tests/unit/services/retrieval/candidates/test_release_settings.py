"""What a release may say of its first stage."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import BadRelease
from services.retrieval.candidates.release_settings import FirstStageSettings


def load(folder: Path, content: Any) -> FirstStageSettings:
    """Read settings from a release with this `retrieval.json`."""
    file = folder / "retrieval.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return FirstStageSettings.load(SimpleNamespace(id="r1", file=lambda _name: file))  # type: ignore[arg-type]


def test_known_names_need_no_kind(tmp_path: Path):
    """Sources of the usual names are what they are called, others say what they are; the rest has defaults."""
    settings = load(tmp_path, {"sources": {"semantic": {}, "behaviour": {}, "repeat": {"kind": "graph"}}})
    assert [settings.kind_of(name) for name in settings.sources] == ["semantic", "graph", "graph"]
    assert (settings.query_prefix, settings.weights) == ("", {})


def test_what_a_source_goes_by_follows_from_its_kind(tmp_path: Path):
    """Graphs go by behaviour and statistics by recent sales, unless the release says otherwise."""
    sources = {
        **{name: {} for name in ("behaviour", "popular", "semantic", "similar", "lexical", "exploration")},
        "lately": {"kind": "popular", "statistic": "sold_7"},
        "best": {"kind": "popular", "statistic": "sold", "evidence": "popular"},
        "again": {"kind": "graph", "evidence": "repeat"},
    }
    settings = load(tmp_path, {"sources": sources})
    assert {name: settings.evidence_of(name) for name in sources} == {
        **{name: name for name in sources},
        "lately": "trending",
        "best": "popular",
        "again": "repeat",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "retrieval.json can't be used"),
        ({}, "sources"),
        ({"sources": {}}, "sources"),
        ({"sources": {"magic": {}}}, r"sources\.magic: has no kind"),
        ({"sources": {"popular": {"kind": "magic"}}}, r"popular\.kind"),
        ({"sources": {"popular": {}}, "colour": "red"}, "colour"),
        ({"sources": {"lexical": {"evidence": "popular"}}}, r"sources\.lexical\.evidence: is no option of the kind"),
        ({"sources": {"popular": {"evidence": "magic"}}}, r"sources\.popular\.evidence"),
        ({"sources": {"lexical": {"colour": "red"}}}, r"sources\.lexical\.colour"),
        ({"sources": {"lexical": {"recent": 3}}}, r"sources\.lexical\.recent: is no option of the kind lexical"),
        ({"sources": {"words": {"kind": "exploration", "graph": "x"}}}, r"words\.graph: .*which has popularity"),
        ({"sources": {"popular": {}}, "decay": 0}, "decay"),
        ({"sources": {"popular": {}}, "weights": {"sometimes": {"popular": 1}}}, r"weights\.sometimes"),
        ({"sources": {"popular": {}}, "weights": {"query": {"semantic": 1}}}, r"weights\.query\.semantic: 1.0 for no"),
        ({"sources": {"popular": {}}, "weights": {"query": {"popular": -1}}}, r"weights\.query\.popular: -1.0"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: Any, message: str):
    """Settings that can't be used make a bad release, and say where."""
    with pytest.raises(BadRelease, match=rf"(?s)release r1: .*{message}"):
        load(tmp_path, content)
