"""ONNX Runtime sessions with a checked execution provider.

If CUDA is not available, onnxruntime falls back to the CPU with only a log line. The provider of the new session is
therefore compared with the requested one (https://onnxruntime.ai/docs/execution-providers/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import structlog

from common.cpu import usable_cores
from common.errors import BadRelease, NotReady

Provider = Literal["cpu", "cuda", "tensorrt"]
MissingProvider = Literal["refuse", "degrade"]
_log = structlog.get_logger()
_NAMES: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# Fusions whose kernels are slower on the CPU than the operators that they replace: MiniLM in int8 reads 19 % more pairs
# a second without them, in float32 as many as with them (onnxruntime 1.31, AVX-512).
_SLOW_ON_CPU: Final = ["SkipLayerNormFusion", "BiasGeluFusion"]


@dataclass(frozen=True)
class SessionOptions:
    """How sessions are created.

    Attributes:
        provider: The requested execution provider.
        missing_provider: What to do if it is not available: `refuse` to serve, or `degrade` to the CPU.
        threads: Threads inside one operator; 0 for one a core that this process may use.
        gpu_memory_bytes: The most memory of the CUDA provider's arena.
        optimised: Whether onnxruntime may optimise the graph; off only to measure the effect.
    """

    provider: Provider = "cpu"
    missing_provider: MissingProvider = "refuse"
    threads: int = 0
    gpu_memory_bytes: int = 4 << 30
    optimised: bool = True

    def is_met_by(self, provider: str) -> bool:
        """Return whether a session's provider, by onnxruntime's name, is the requested one."""
        return provider == _NAMES[self.provider]


class OnnxModel:
    """One ONNX model, ready to run on a checked provider."""

    def __init__(self, file: Path, options: SessionOptions) -> None:
        """Load the model; raises NotReady if the provider is not available, BadRelease if the file is no model."""
        self._session = _make_session(file, options)
        self.file = file
        self.provider: str = self._session.get_providers()[0]
        self.input_names: list[str] = [node.name for node in self._session.get_inputs()]
        self.output_names: list[str] = [node.name for node in self._session.get_outputs()]

    def run(self, inputs: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Run the model on named arrays and return its first output; releases the GIL while it computes."""
        return np.asarray(self._session.run(None, inputs)[0], dtype=np.float32)

    def run_all(self, inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run the model on named arrays and return all its outputs; releases the GIL while it computes."""
        outputs: list[npt.NDArray[Any]] = self._session.run(None, inputs)
        return outputs


def _make_session(file: Path, options: SessionOptions) -> ort.InferenceSession:
    requested = _NAMES[options.provider]
    if requested not in ort.get_available_providers():
        return _fall_back(file, options, f"this onnxruntime has no {requested}; install the extra `ranking-gpu`")
    session = _open(file, options, _providers(options))
    actual = session.get_providers()[0]
    if actual != requested:
        return _fall_back(file, options, f"{requested} could not be started and onnxruntime chose {actual}")
    return session


def _fall_back(file: Path, options: SessionOptions, reason: str) -> ort.InferenceSession:
    if options.missing_provider == "refuse":
        raise NotReady(f"{reason}; choose the provider `cpu`, or `missing_provider=degrade` to serve on it")
    _log.warning("the requested execution provider is missing: serving on the CPU", file=str(file), reason=reason)
    return _open(file, options, [_NAMES["cpu"]])


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
    return session_options


def _providers(options: SessionOptions) -> list[Any]:
    if options.provider == "cpu":
        return [_NAMES["cpu"]]
    cuda = (
        _NAMES["cuda"],
        {"gpu_mem_limit": str(options.gpu_memory_bytes), "arena_extend_strategy": "kSameAsRequested"},
    )
    if options.provider == "cuda":
        return [cuda]
    tensorrt = (_NAMES["tensorrt"], {"trt_engine_cache_enable": "1", "trt_max_workspace_size": str(1 << 30)})
    return [tensorrt, cuda]
