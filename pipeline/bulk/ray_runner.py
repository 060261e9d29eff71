"""A task over files on Ray Data: workers on this machine, or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from common.errors import InvalidRequest, NotReady
from pipeline.bulk.job import BulkJob, Chunk, Worker
from pipeline.bulk.tasks import Task

_TOP: Final = Path(__file__).parents[2]


# What the workers import of this checkout; the packages that it needs must be installed where they run.
_OURS: Final = ("pipeline", "services", "common", "protos/shortlist")


class RayRun:
    """Does pieces with one worker a processor, each with the model loaded once.

    Ray hands out the pieces and gathers how many rows are done; workers read and write the files themselves. On a
    cluster every worker must reach release, tables and results by the same paths, and have the extra `scale` installed.

    Args:
        address: A cluster's address; empty for workers on this machine.

    Raises:
        InvalidRequest: Ray is not installed.
        NotReady: The cluster cannot be reached, when pieces are done.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._ray = _import_ray()

    def __call__(self, bulk: BulkJob, pieces: Sequence[Chunk], on_rows: Callable[[int], None]) -> None:
        """Do the pieces, in any order."""
        with _connected(self._ray, self._address):
            processors = int(self._ray.cluster_resources().get("CPU", 1))
            done = self._ray.data.from_items(list(map(asdict, pieces)), override_num_blocks=len(pieces)).map(
                RayWorker,
                fn_constructor_args=(bulk.task, _reached(bulk.release), bulk.batch),
                compute=self._ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(processors, len(pieces)))),
                num_cpus=1,
            )
            for row in done.iter_rows():
                on_rows(row["rows"])


class RayWorker:
    """A worker that Ray hands pieces to, as rows of a table."""

    def __init__(self, task: type[Task], release: str, batch: int) -> None:
        self._worker = Worker(task, release, batch, threads=1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do one piece; returns how many rows it has."""
        piece = Chunk(row["file"], int(row["group"]), row["out"], int(row["rows"]))  # numbers may be numpy's
        self._worker.do(piece)
        return {"rows": piece.rows}


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of a shop's work
    try:
        import ray  # noqa: PLC0415 - an extra of its own
        import ray.data  # noqa: PLC0415
    except ImportError:
        raise InvalidRequest("--workers ray needs Ray: install the extra `scale`, or leave the option out") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Hold a connection: to a cluster that is sent our modules, or to workers started here for as long."""
    if address:
        _join(ray, address)
    else:
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def _join(ray: Any, address: str) -> None:
    modules = {"py_modules": [str(_TOP / name) for name in _OURS]}
    try:
        ray.init(address=address, runtime_env=modules, log_to_driver=False)
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise NotReady(
            f"the Ray cluster at {address} cannot be reached: {error}; where it asks for a token, set "
            "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the token's file"
        ) from error


def _reached(release: str) -> str:
    """Return a release's location as workers name it, whose working folder is another."""
    return release if "://" in release else str(Path(release).resolve())
