"""ONNX Runtime sessions whose execution provider is what was asked for.

onnxruntime falls back to the CPU with a log line even when only CUDA was asked for, so the provider is read back
from the session that was made and compared (https://onnxruntime.ai/docs/execution-providers/).
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

# Fusions whose kernels are slower on the CPU than what they replace: an int8 MiniLM reads 19 % more pairs a second
# without them, a float32 one as many as with them (onnxruntime 1.31, AVX-512).
_SLOW_ON_CPU: Final = ["SkipLayerNormFusion", "BiasGeluFusion"]


@dataclass(frozen=True)
class SessionOptions:
    """How sessions are made.

    Attributes:
        provider: The execution provider wished for.
        missing_provider: What to do where it cannot be had: `refuse` to serve, or `degrade` to the CPU.
        threads: Threads inside one operator; 0 for as many as this process may use.
        gpu_memory_bytes: Bound on the arena of the CUDA provider.
        optimised: Whether onnxruntime may rewrite the graph; not to measure what that is worth.
    """

    provider: Provider = "cpu"
    missing_provider: MissingProvider = "refuse"
    threads: int = 0
    gpu_memory_bytes: int = 4 << 30
    optimised: bool = True


class OnnxModel:
    """One ONNX model, ready to run: an onnxruntime session whose provider was checked."""

    def __init__(self, file: Path, options: SessionOptions) -> None:
        """Load the model; raises NotReady where the provider cannot be had, BadRelease where the file is no model."""
        self._session = _make_session(file, options)
        self.file = file
        self.provider: str = self._session.get_providers()[0]
        self.input_names: list[str] = [node.name for node in self._session.get_inputs()]
        self.output_names: list[str] = [node.name for node in self._session.get_outputs()]

    def run(self, inputs: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Run the model on named arrays and return its first output; releases the GIL while it computes."""
        return np.asarray(self._session.run(None, inputs)[0], dtype=np.float32)

    def run_all(self, inputs: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Run the model on named arrays and return its outputs as they are; releases the GIL while it computes."""
        outputs: list[npt.NDArray[Any]] = self._session.run(None, inputs)
        return outputs


def _make_session(file: Path, options: SessionOptions) -> ort.InferenceSession:
    wished = _NAMES[options.provider]
    if wished not in ort.get_available_providers():
        return _fall_back(file, options, f"this onnxruntime has no {wished}; install the extra `ranking-gpu`")
    session = _open(file, options, _providers(options))
    chosen = session.get_providers()[0]
    if chosen != wished:
        return _fall_back(file, options, f"{wished} could not be started and onnxruntime chose {chosen}")
    return session


def _fall_back(file: Path, options: SessionOptions, reason: str) -> ort.InferenceSession:
    if options.missing_provider == "refuse":
        raise NotReady(f"{reason}; choose the provider `cpu`, or `missing_provider=degrade` to serve on it")
    _log.warning("the wished execution provider is missing: serving on the CPU", file=str(file), reason=reason)
    return _open(file, options, [_NAMES["cpu"]])


def _open(file: Path, options: SessionOptions, providers: list[Any]) -> ort.InferenceSession:
    slow = _SLOW_ON_CPU if providers == [_NAMES["cpu"]] else []
    try:
        return ort.InferenceSession(file, _session_options(options), providers=providers, disabled_optimizers=slow)
    except Exception as error:  # onnxruntime has a class for each status, with nothing in common
        raise BadRelease(f"{file} cannot be loaded as an ONNX model: {error}") from error


def _session_options(options: SessionOptions) -> ort.SessionOptions:
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads or usable_cores()
    session_options.inter_op_num_threads = 1
    levels = ort.GraphOptimizationLevel
    session_options.graph_optimization_level = levels.ORT_ENABLE_ALL if options.optimised else levels.ORT_DISABLE_ALL
    session_options.log_severity_level = 3
    # Spinning threads would take the second core from gRPC between batches.
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
