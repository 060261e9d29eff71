"""ONNX Runtime sessions with a checked execution provider.

If CUDA is not available, onnxruntime falls back to the CPU with only a log line, and nodes without a CUDA kernel run on
the CPU without one. The libraries are therefore looked for first, the new session's provider is compared with the
requested one, and so is each node's (https://onnxruntime.ai/docs/execution-providers/).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import structlog

from common.cpu import usable_cores
from common.errors import BadRelease, NotReady
from common.gpu import libraries, placement
from common.gpu.failures import DeviceLost, as_device_error

Provider = Literal["cpu", "cuda", "tensorrt"]
MissingProvider = Literal["refuse", "degrade"]
_log = structlog.get_logger()
_NAMES: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# What serves instead with `degrade`, in this order.
_NEXT: Final[dict[Provider, Provider]] = {"tensorrt": "cuda", "cuda": "cpu"}
# Fusions whose kernels are slower on the CPU than the operators that they replace: MiniLM in int8 reads 19 % more pairs
# a second without them, in float32 as many as with them (onnxruntime 1.31, AVX-512).
_SLOW_ON_CPU: Final = ["SkipLayerNormFusion", "BiasGeluFusion"]


def _ignore(error: DeviceLost) -> None:
    del error


@dataclass(frozen=True)
class SessionOptions:
    """How sessions are created.

    Attributes:
        provider: The requested execution provider.
        missing_provider: What to do if it is not available, or does not run the whole graph: `refuse` to serve, or
            `degrade` to the next one: from TensorRT to CUDA, from CUDA to the CPU.
        threads: Threads inside one operator; 0 for one a core that this process may use.
        gpu_memory_bytes: The most memory of the CUDA provider's arena.
        optimised: Whether onnxruntime may optimise the graph; off only to measure the effect.
        tf32: Whether CUDA may round the factors of float32 products to 10 bits of mantissa (TF32). Scores then differ
            from those of the CPU, with which the release was checked.
        cpu_operators: Operators that may run on the CPU although a GPU is requested.
        on_device_lost: Called from any thread when a run finds that the GPU is lost, once a model.
    """

    provider: Provider = "cpu"
    missing_provider: MissingProvider = "refuse"
    threads: int = 0
    gpu_memory_bytes: int = 4 << 30
    optimised: bool = True
    tf32: bool = False
    cpu_operators: frozenset[str] = placement.SHAPE_OPERATORS
    on_device_lost: Callable[[DeviceLost], None] = field(default=_ignore, compare=False)

    def is_met_by(self, provider: str) -> bool:
        """Return whether a session's provider, by onnxruntime's name, is the requested one."""
        return provider == _NAMES[self.provider]


class OnnxModel:
    """One ONNX model, ready to run on a checked provider."""

    def __init__(self, file: Path, options: SessionOptions) -> None:
        """Load the model; raises NotReady if the provider is not available, BadRelease if the file is no model."""
        self._session = _make_session(file, options)
        self._lost: DeviceLost | None = None
        self._on_device_lost = options.on_device_lost
        self.file = file
        self.provider: str = self._session.get_providers()[0]
        self.input_names: list[str] = [node.name for node in self._session.get_inputs()]
        self.output_names: list[str] = [node.name for node in self._session.get_outputs()]

    def run(self, inputs: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Run the model on named arrays and return its first output; see `run_all`."""
        return np.asarray(self.run_all(inputs)[0], dtype=np.float32)

    def run_all(self, inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run the model on named arrays and return all its outputs; releases the GIL while it computes.

        Raises:
            OutOfDeviceMemory: The GPU has too little memory for these arrays.
            DeviceLost: The GPU failed in a way that only a new process ends. Later runs raise it at once.
        """
        if self._lost is not None:
            raise self._lost
        try:
            outputs: list[npt.NDArray[Any]] = self._session.run(None, inputs)
        except Exception as error:
            if (device_error := as_device_error(error)) is None:
                raise
            if isinstance(device_error, DeviceLost):
                self._lost = device_error
                self._on_device_lost(device_error)
            raise device_error from error
        return outputs


def _make_session(file: Path, options: SessionOptions) -> ort.InferenceSession:
    """Make a session on the requested provider, or on the next one that `degrade` allows."""
    try:
        return _on_provider(file, options)
    except NotReady as error:
        if options.missing_provider == "refuse" or options.provider not in _NEXT:
            raise NotReady(
                f"{error}; choose the provider `cpu`, or `missing_provider=degrade` to serve on it"
            ) from error
        degraded = replace(options, provider=_NEXT[options.provider])
        _log.warning(
            "the requested execution provider is missing: another one serves",
            file=str(file),
            reason=str(error),
            requested=_NAMES[options.provider],
            degraded_to=_NAMES[degraded.provider],
        )
    return _make_session(file, degraded)


def _on_provider(file: Path, options: SessionOptions) -> ort.InferenceSession:
    """Make a session on the requested provider; raises NotReady with the reason if it cannot run the whole graph."""
    requested = _NAMES[options.provider]
    if requested not in ort.get_available_providers():
        raise NotReady(f"this onnxruntime has no {requested}; install the extra `ranking-gpu` or `retrieval-gpu`")
    if missing := libraries.missing(options.provider):
        raise NotReady(f"{requested} could not be started, {libraries.explain(missing)}")
    session = _open(file, options, _providers(options))
    actual = session.get_providers()[0]
    if actual != requested:
        raise NotReady(f"{requested} could not be started and onnxruntime chose {actual}")
    if options.provider != "cpu":
        meant = {requested, _NAMES["cuda"]}  # TensorRT leaves single operators to CUDA by its design
        if strays := placement.strays(session, meant, options.cpu_operators):
            raise NotReady(f"{requested} has no kernel for a part of {file.name}: {placement.explain(strays)}")
    return session


def _open(file: Path, options: SessionOptions, providers: list[Any]) -> ort.InferenceSession:
    slow = _SLOW_ON_CPU if providers == [_NAMES["cpu"]] else []
    try:
        return ort.InferenceSession(file, _session_options(options), providers=providers, disabled_optimizers=slow)
    except Exception as error:  # onnxruntime has one class for each status, without a common base
        raise BadRelease(f"{file} cannot be loaded as an ONNX model: {error}") from error


def _session_options(options: SessionOptions) -> ort.SessionOptions:
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads or usable_cores()
    session_options.inter_op_num_threads = 1
    levels = ort.GraphOptimizationLevel
    session_options.graph_optimization_level = levels.ORT_ENABLE_ALL if options.optimised else levels.ORT_DISABLE_ALL
    session_options.log_severity_level = 3
    # Threads that spin between batches would take a core from gRPC.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if options.provider != "cpu":
        session_options.add_session_config_entry(placement.RECORD, "1")
    return session_options


def _providers(options: SessionOptions) -> list[Any]:
    if options.provider == "cpu":
        return [_NAMES["cpu"]]
    cuda = (
        _NAMES["cuda"],
        {
            "gpu_mem_limit": str(options.gpu_memory_bytes),
            "arena_extend_strategy": "kSameAsRequested",
            "use_tf32": str(int(options.tf32)),
        },
    )
    if options.provider == "cuda":
        return [cuda]
    tensorrt = (_NAMES["tensorrt"], {"trt_engine_cache_enable": "1", "trt_max_workspace_size": str(1 << 30)})
    return [tensorrt, cuda]
