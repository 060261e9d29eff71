"""Changed documents and damaged files."""

from __future__ import annotations

import json
import random
from pathlib import Path

from testing.fuzzing.documents import changed_document, damage_file, document_bytes

_DOCUMENT = {"format": 3, "files": {"a": {"bytes": 1, "sha256": "x"}}, "names": ["b", "c"]}


def test_documents_differ_from_the_original():
    """Nearly every changed document differs, and the original stays as it is."""
    before = json.dumps(_DOCUMENT)
    changed = [changed_document(random.Random(seed), _DOCUMENT) for seed in range(100)]
    assert sum(json.dumps(one) != before for one in changed) > 90
    assert json.dumps(_DOCUMENT) == before


def test_some_bytes_are_no_document():
    """A part of the inputs cannot be parsed."""
    unreadable = 0
    for seed in range(200):
        try:
            json.loads(document_bytes(random.Random(seed), _DOCUMENT))
        except (ValueError, RecursionError):
            unreadable += 1
    assert 10 < unreadable < 100


def test_damage_is_of_every_kind(tmp_path: Path):
    """Files are cut, overwritten, extended, emptied, and replaced by a folder or a broken link; none stays whole."""
    found = set()
    for seed in range(60):
        file = tmp_path / str(seed)
        file.write_bytes(b"content")
        damage_file(random.Random(seed), file)
        found.add("link" if file.is_symlink() else "folder" if file.is_dir() else min(len(file.read_bytes()), 8))
    assert {"link", "folder", 0, 7, 8} <= found
