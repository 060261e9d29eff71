"""Logs and metrics: JSON lines on stderr with the request id, and Prometheus metrics in a registry per server."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.process.endless_loop import STATES
from common.process.line_writer import LineWriter
from common.security.log_redaction import hide_quoted_texts

# Half a millisecond (a lookup) to ten seconds (far past any deadline), about two and a half times apart.
BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


disable_created_metrics()  # type: ignore[no-untyped-call]  # no second series for each counter


def configure_logging(service: str, level: str = "info", *, request_texts: bool = False) -> None:
    """Write the log lines of structlog and of the standard library as JSON on stderr, one object per line.

    Args:
        service: The service's name, written in every line.
        level: The lowest level to write: `debug`, `info`, `warning` or `error`.
        request_texts: Whether messages may quote what callers sent.
    """

    def add_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"service": service, **event}

    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        structlog.processors.format_exc_info,
        *(() if request_texts else (hide_quoted_texts,)),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Lines below the level cost nothing: their fields are not even collected.
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    )
    _write_to_stderr(shared, level)


def request_id() -> str:
    """Return the request id of the current call; empty outside of calls."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def exemplar_of(trace_id: str) -> dict[str, str] | None:
    """Return the exemplar of an observation in a histogram: the trace it is from; None without one."""
    return {"trace_id": trace_id} if trace_id else None


class Metrics:
    """A server's metrics, named ``shortlist_<service>_…``. Services add their own collectors to ``registry``.

    Attributes:
        registry: The registry of the server's metrics, separate from other servers in the process.
        namespace: The prefix of the metrics' names.
        requests: Finished calls, by `method` and status `code`.
        request_seconds: Duration of calls, by `method`.
        in_flight: Calls in progress.
        stage_seconds: Duration of the stages of calls, by `stage`.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self.namespace = f"shortlist_{service}"
        names: dict[str, Any] = {"namespace": self.namespace, "registry": self.registry}
        self.requests = Counter("requests", "Finished calls.", ["method", "code"], **names)
        self.request_seconds = Histogram(
            "request_seconds", "Duration of calls.", ["method"], buckets=BUCKETS_S, **names
        )
        self.in_flight = Gauge("requests_in_flight", "Calls in progress.", **names)
        self.stage_seconds = Histogram(
            "stage_seconds", "Duration of the stages of calls.", ["stage"], buckets=BUCKETS_S, **names
        )
        self._release = Info("release", "The release that is served.", **names)
        self._release_created = Gauge(
            "release_created_timestamp_seconds", "When the release that is served was built.", **names
        )
        self._release_created.set(math.nan)
        self._provider_missing = Gauge(
            "provider_missing", "1 if a model runs on the CPU because the requested provider is missing.", **names
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(_ProcessMetrics(self.namespace))

    def count_call(self, method: str, code: str, seconds: float, trace_id: str = "") -> None:
        """Count a call that ended with the status ``code``, and its duration, with its trace as an exemplar."""
        self.requests.labels(method, code).inc()
        self.request_seconds.labels(method).observe(seconds, exemplar_of(trace_id))

    def time_stage(self, name: str) -> AbstractContextManager[Any]:
        """Return a context manager that measures its body as the stage ``name``."""
        return self.stage_seconds.labels(stage=name).time()

    def set_release(self, release_id: str, created_s: float = math.nan) -> None:
        """Export the release that is served, and when it was built in seconds since 1970 if that is known."""
        self._release.info({"release_id": release_id})
        self._release_created.set(created_s)

    def watch_change_stream(self, lag_s: Callable[[], float]) -> None:
        """Export for how long the server has not reached the end of the change stream."""
        lag = Gauge(
            "change_stream_lag_seconds",
            "Seconds since the end of the Redis stream of changes was reached; about one at most while it is followed.",
            namespace=self.namespace,
            registry=self.registry,
        )
        lag.set_function(lag_s)

    def watch_provider(self, *, is_met: bool) -> None:
        """Export whether a model runs on another execution provider than the requested one."""
        self._provider_missing.set(not is_met)

    def watch_certificate(self, not_after_s: Callable[[], float]) -> None:
        """Export when the server's certificate expires, in seconds since 1970."""
        expiry = Gauge(
            "certificate_expiry_timestamp_seconds",
            "When the server's TLS certificate expires.",
            namespace=self.namespace,
            registry=self.registry,
        )
        expiry.set_function(not_after_s)


class _LineHandler(logging.Handler):
    """Writes log lines without ever waiting for whoever reads them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line."""
        try:
            LOG.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - a line that cannot be formatted must not fail its call
            LOG.lost += 1

    def flush(self) -> None:
        """Wait a moment until all lines are written; called at the end of the process."""
        LOG.flush()


class _ProcessMetrics(Collector):
    """Lost log lines and background loops, which belong to the process rather than to one server."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of now."""
        lost = CounterMetricFamily(f"{self._namespace}_log_lines_lost", "Log lines that nobody read in time.")
        lost.add_metric((), LOG.lost)
        failures = CounterMetricFamily(
            f"{self._namespace}_loop_failures", "Steps of background loops that failed.", labels=("loop",)
        )
        failing = GaugeMetricFamily(
            f"{self._namespace}_loop_failing", "Whether the loop's last step failed.", labels=("loop",)
        )
        for name, state in sorted(STATES.items()):
            failures.add_metric((name,), state.failures)
            failing.add_metric((name,), state.is_failing)
        yield from (lost, failures, failing)


def _lost_line(count: int) -> str:
    return (
        json.dumps({"level": "warning", "event": "log lines were lost because nobody read them", "lost": count}) + "\n"
    )


# The only writer of standard error.
LOG: Final = LineWriter(2, _lost_line)


def _write_to_stderr(shared: list[structlog.types.Processor], level: str) -> None:
    handler = _LineHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("asyncio", "grpc"):  # several debug lines per call
        logging.getLogger(chatty).setLevel(max(root.level, logging.INFO))
