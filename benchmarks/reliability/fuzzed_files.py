"""Damaged releases and changed exports of shops, given to what reads them."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from common.errors import ShortlistError
from common.release.manifest import MANIFEST, parse_manifest
from common.release.store import open_release
from pipeline.data.adapters import prepare
from testing.fuzzing.documents import damage_file, document_bytes
from testing.fuzzing.rpcs import FuzzReport
from testing.fuzzing.shop_files import write_changed

_MANIFESTS_FOR_A_RELEASE: Final = 100
_SLOW_S: Final = 20.0


def fuzz_loader(store: Path, folder: Path, seconds: float, seed: str, report: FuzzReport) -> int:
    """Parse changed manifests and open damaged releases for some seconds; returns how many."""
    original = store / (store / "CURRENT").read_text().strip()
    document = json.loads((original / MANIFEST).read_bytes())
    names = sorted(document["files"])
    ends_s, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends_s:
        for _ in range(_MANIFESTS_FOR_A_RELEASE):
            count += 1
            chosen = random.Random(f"{seed}-manifest-{count}")
            content = document_bytes(chosen, document)
            expect_error_or_result(
                "manifest", f"{seed}-manifest-{count}", partial(parse_manifest, content, "x"), report
            )
        count += 1
        chosen = random.Random(f"{seed}-release-{count}")
        copy = folder / "damaged"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original, copy, copy_function=os.link)
        _damage(chosen, copy, names, document)
        expect_error_or_result("release", f"{seed}-release-{count}", partial(open_release, str(copy)), report)
    return count


def fuzz_prepare(folder: Path, seconds: float, seed: str, report: FuzzReport) -> int:
    """Prepare changed exports for some seconds; returns how many."""
    ends_s, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends_s:
        count += 1
        files = folder / "export"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir()
        adapter, data = write_changed(random.Random(f"{seed}-prepare-{count}"), files)
        expect_error_or_result(f"prepare {adapter}", f"{seed}-prepare-{count}", partial(prepare, adapter, data), report)
    return count


def _damage(chosen: random.Random, copy: Path, names: list[str], document: object) -> None:
    file = copy / chosen.choice([*names, MANIFEST])
    content = file.read_bytes()
    file.unlink()  # the copy is a hard link
    file.write_bytes(document_bytes(chosen, document) if file.name == MANIFEST else content)
    if file.name != MANIFEST:
        damage_file(chosen, file)


def expect_error_or_result(what: str, seed: str, read: Callable[[], object], report: FuzzReport) -> None:
    """Run a reader; any error that is not one of ours is a fault, and so is a long time."""
    began_s = time.monotonic()
    kind = what.split(maxsplit=1)[0]
    try:
        read()
        report.statuses[f"{kind}: read"] += 1
    except ShortlistError as error:
        report.statuses[f"{kind}: {type(error).__name__}"] += 1
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - panics of Rust libraries are no Exception
        report.statuses[f"{kind}: {type(error).__name__} (fault)"] += 1
        report.add_fault(what, seed, f"{type(error).__name__}: {str(error)[:300]}")
    if time.monotonic() - began_s > _SLOW_S:
        report.add_fault(what, seed, f"took more than {_SLOW_S:g} s")
