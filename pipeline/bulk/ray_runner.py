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
# The packages of this checkout that workers import. Third-party packages must be installed on the workers.
_OURS: Final = ("pipeline", "services", "common", "protos/shortlist")


class RayRun:
    """Processes chunks with one worker per processor; each loads the model once.

    Ray only distributes the chunks and counts finished rows: workers read and write the files themselves. On a cluster
    every worker must reach release, tables and results by the same paths, and have the extra `scale` installed.

    Args:
        address: A cluster's address; empty for workers on this machine.

    Raises:
        InvalidRequest: Ray is not installed.
        NotReady: The cluster cannot be reached; raised by the call.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._ray = _import_ray()

    def __call__(self, job: BulkJob, chunks: Sequence[Chunk], on_rows: Callable[[int], None]) -> None:
        """Process the chunks, in any order."""
        with _connected(self._ray, self._address):
            processors = int(self._ray.cluster_resources().get("CPU", 1))
            done = self._ray.data.from_items(list(map(asdict, chunks)), override_num_blocks=len(chunks)).map(
                RayWorker,
                fn_constructor_args=(job.task, _absolute_location(job.release), job.batch),
                compute=self._ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(processors, len(chunks)))),
                num_cpus=1,
            )
            for row in done.iter_rows():
                on_rows(row["rows"])


class RayWorker:
    """A Ray worker; it gets chunks as rows of a table."""

    def __init__(self, task: type[Task], release: str, batch: int) -> None:
        self._worker = Worker(task, release, batch, threads=1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Process one chunk; return its number of rows."""
        chunk = Chunk(row["file"], int(row["group"]), row["out"], int(row["rows"]))  # numbers may be numpy's
        self._worker.process(chunk)
        return {"rows": chunk.rows}


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a shop's work is not reported to Ray's authors
    try:
        import ray  # noqa: PLC0415 - an extra of its own
        import ray.data  # noqa: PLC0415
    except ImportError:
        raise InvalidRequest("--workers ray needs Ray: install the extra `scale`, or leave the option out") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connect while the body runs: to a cluster, which gets our packages, or to workers started here."""
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
            f"the Ray cluster at {address} cannot be reached: {error}; if it needs a token, set "
            "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the token's file"
        ) from error


def _absolute_location(release: str) -> str:
    """Return a release's location as an absolute path or URL: workers have another working folder."""
    return release if "://" in release else str(Path(release).resolve())
