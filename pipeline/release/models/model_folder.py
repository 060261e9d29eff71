"""Models in folders of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

M = TypeVar("M")


def load_model(kind: type[M], folder: Path | str, **options: Any) -> M:
    """Load a model of transformers from a folder.

    Never from the Hugging Face hub, for whose repository transformers would take a path that does not exist.

    Args:
        kind: The model's class.
        folder: The folder.
        **options: Options of the model's configuration.

    Raises:
        OSError: The folder has no such model.
    """
    loaded: M = kind.from_pretrained(folder, local_files_only=True, **options)  # type: ignore[attr-defined]  # any model
    return loaded
