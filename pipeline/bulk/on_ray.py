"""A task over files on Ray Data: workers on this machine, or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from common.errors import InvalidRequest

if TYPE_CHECKING:
    from pipeline.bulk.run import Bulk
    from pipeline.progress import ProgressReport

_TOP: Final = Path(__file__).parents[2]
# What the workers import of this checkout; the packages that it needs must be installed where they run.
_OURS: Final = ("pipeline", "services", "common", "protos/shortlist")


def run_on_ray(bulk: Bulk, table: Any, folder: Path, address: str, report: ProgressReport) -> int:
    """Do the task with one worker a processor, each with the model loaded once; see `run_bulk`.

    On a cluster every worker must reach release, source and results by the same paths, and have installed what the
    extra `scale` names.
    """
    ray = _ray()
    total = int(table.count_rows())
    with _connected(ray, address), report.step(f"{bulk.task.__name__} {bulk.source.name} on Ray", total):
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        found = ray.data.read_parquet([str(Path(file).resolve()) for file in table.files]).map_batches(
            bulk.task,
            fn_constructor_args=(_reached(bulk.release), 1),
            batch_size=bulk.batch,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=1,
        )
        found.write_parquet(str(folder.resolve()))
    return total


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of a shop's work
    try:
        import ray  # noqa: PLC0415 - an extra of its own
        import ray.data  # noqa: PLC0415
    except ImportError:
        raise InvalidRequest("--workers ray needs Ray: install the extra `scale`, or leave the option out") from None
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Hold a connection: to a cluster that is sent our modules, or to workers started here for as long."""
    modules = {"py_modules": [str(_TOP / name) for name in _OURS]}
    started = {"address": address, "runtime_env": modules} if address else {"address": "local"}
    ray.init(**started, include_dashboard=None if address else False, log_to_driver=False, logging_level="WARNING")
    try:
        yield
    finally:
        ray.shutdown()


def _reached(release: str) -> str:
    """Return a release's location as workers name it, whose working folder is another."""
    return release if "://" in release else str(Path(release).resolve())
