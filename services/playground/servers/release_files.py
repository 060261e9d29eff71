"""What the files of a release say of it: its figures, its data, its model card."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from common.errors import ShortlistError
from common.release.layout import MODEL_CARD
from common.release.store import open_release


@lru_cache(maxsize=4)
def release_files(location: str, release_id: str) -> dict[str, Any] | None:
    """Return `created_at`, `data`, `learned_until`, `models`, `metrics` and `model_card` of a release.

    Reads and verifies files: not for the event loop.

    Args:
        location: Where a server says that it loaded the release from.
        release_id: The release that it serves.

    Returns:
        None if that release cannot be read at that place from here.
    """
    if "://" in location:
        return None
    try:
        release = open_release(location)
    except ShortlistError:
        return None
    if release.id != release_id:
        return None
    manifest = release.manifest
    has_card = MODEL_CARD in manifest.files
    return {
        **manifest.model_dump(mode="json", include={"created_at", "data", "learned_until", "models"}),
        "metrics": [{"name": name, "rows": rows(value)} for name, value in manifest.metrics.items()],
        "model_card": release.file(MODEL_CARD).read_text(encoding="utf-8") if has_card else None,
    }


def rows(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
    """Return nested figures as rows of a path of names and a value."""
    if isinstance(value, Mapping):
        return [row for name, part in value.items() for row in rows(part, (*path, str(name)))]
    if isinstance(value, list):
        return [(" · ".join(path), ", ".join(map(str, value)))] if value else []
    return [(" · ".join(path), value)]
