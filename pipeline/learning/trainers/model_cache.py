"""A cache of trained models on disk, keyed by their inputs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from transformers import PreTrainedModel

_DONE: Final = "done.json"
_CHECKPOINTS: Final = "checkpoints"
_TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class ModelCache:
    """Models in Hugging Face's format, each in its own folder.

    Args:
        folder: The folder of the cache.
        tokenizer: Folder of the base model, whose tokenizer is copied to each model.
    """

    def __init__(self, folder: Path, tokenizer: Path) -> None:
        self.folder = folder
        self._tokenizer = tokenizer

    def get(self, name: str, made_from: Sequence[Any], train: Callable[[Path], PreTrainedModel]) -> Path:
        """Return a model's folder; trains the model where it is not there yet.

        Args:
            name: What it is, for users.
            made_from: Everything that makes it what it is, as JSON values.
            train: Makes it; given a folder for checkpoints, from which it goes on after a kill.
        """

        def make(folder: Path, work: Path) -> None:
            train(work).save_pretrained(folder)
            self._add_tokenizer(folder)

        return self.made(name, made_from, make)

    def made(self, name: str, made_from: Sequence[Any], make: Callable[[Path, Path], None]) -> Path:
        """Return the folder of what is made of these things, likewise; ``make`` fills it, given one for checkpoints."""
        key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
        folder = self.folder / f"{name}-{key}"
        if not (folder / _DONE).exists():
            folder.mkdir(parents=True, exist_ok=True)
            make(folder, folder / _CHECKPOINTS)
            shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
            (folder / _DONE).write_text(json.dumps({"name": name, "key": key}) + "\n")
        return folder

    def _add_tokenizer(self, folder: Path) -> None:
        for name in _TOKENIZER_FILES:
            if (self._tokenizer / name).exists():
                shutil.copy(self._tokenizer / name, folder / name)
