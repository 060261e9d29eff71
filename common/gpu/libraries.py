"""The shared libraries that onnxruntime's CUDA and TensorRT providers load, found before a session is made.

If one is missing, onnxruntime only logs the loader's error and runs the session on the CPU. The wheels of NVIDIA keep
their libraries in folders that the loader does not search; ``onnxruntime.preload_dlls`` loads them from there in the
order of their dependencies, and a library that is loaded is found by its name from then on
(https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#preload-dlls).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

LoadLibrary = Callable[[str], Any]
_DRIVER: Final = "install the NVIDIA driver, or start the container with its devices (`--gpus all`, `nvidia.com/gpu`)"
# From CUDA 13 on the names of NVIDIA's packages have no suffix such as `-cu12`.
_WITHOUT_SUFFIX: Final = 13
# Without quotation marks, since the log hides what stands between them.
_PIP: Final = "pip install --constraint constraints.txt --constraint constraints-gpu.txt"
_CUDA: Final = f"{_PIP} --editable .[ranking-gpu] (retrieval: .[retrieval-gpu])"
_TENSORRT: Final = f"{_PIP} --extra-index-url https://pypi.nvidia.com --editable .[ranking-tensorrt]"


@dataclass(frozen=True)
class Library:
    """A shared library.

    Attributes:
        file: The name that the loader looks for.
        package: What has it.
        remedy: How to get it.
    """

    file: str
    package: str
    remedy: str

    def __str__(self) -> str:
        """Return the library and what has it."""
        return f"{self.file} ({self.package})"


def required(provider: str, cuda_version: str) -> list[Library]:
    """Return the libraries that a provider needs, the driver first, by the CUDA version that onnxruntime is built for.

    These are what the provider's library links (``readelf -d``), and what it opens by name on first use: cuFFT, NVRTC
    and cuDNN.

    Args:
        provider: ``cuda`` or ``tensorrt``; any other needs nothing.
        cuda_version: Such as ``13.0``; empty if onnxruntime is built without CUDA.
    """
    if provider not in {"cuda", "tensorrt"} or not cuda_version:
        return []
    major = int(cuda_version.split(".", 1)[0])
    suffix = f"-cu{major}" if major < _WITHOUT_SUFFIX else ""
    cuda = [
        Library(f"libcudart.so.{major}", f"nvidia-cuda-runtime{suffix}", _CUDA),
        Library(f"libcublasLt.so.{major}", f"nvidia-cublas{suffix}", _CUDA),
        Library(f"libcublas.so.{major}", f"nvidia-cublas{suffix}", _CUDA),
        Library(f"libnvrtc.so.{major}", f"nvidia-cuda-nvrtc{suffix}", _CUDA),
        Library("libcurand.so.10", f"nvidia-curand{suffix}", _CUDA),
        Library(f"libcufft.so.{major - 1}", f"nvidia-cufft{suffix}", _CUDA),
        Library("libcudnn.so.9", f"nvidia-cudnn-cu{major}", _CUDA),
    ]
    tensorrt = [
        Library("libnvinfer.so.10", f"tensorrt-cu{major}-libs", _TENSORRT),
        Library("libnvonnxparser.so.10", f"tensorrt-cu{major}-libs", _TENSORRT),
    ]
    driver = Library("libcuda.so.1", "the NVIDIA driver", _DRIVER)
    return [driver, *cuda, *(tensorrt if provider == "tensorrt" else [])]


def missing(provider: str, load: LoadLibrary = ctypes.CDLL, cuda_version: str | None = None) -> list[Library]:
    """Load what a provider needs, and return the libraries that cannot be loaded.

    Args:
        provider: ``cuda`` or ``tensorrt``; any other needs nothing.
        load: Loads a library by its name, and raises OSError if it cannot.
        cuda_version: See `required`; onnxruntime's own if it is None.
    """
    libraries = required(provider, ort.cuda_version if cuda_version is None else cuda_version)
    if libraries:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find; `_loads` finds it again
            ort.preload_dlls(directory="")
        if provider == "tensorrt":
            _preload_tensorrt()
    return [library for library in libraries if not _loads(library, load)]


def explain(libraries: list[Library]) -> str:
    """Return which libraries are missing, and the commands that bring them."""
    remedies = dict.fromkeys(library.remedy for library in libraries)
    return f"missing: {', '.join(map(str, libraries))}; to get them: {'; '.join(remedies)}"


def _loads(library: Library, load: LoadLibrary) -> bool:
    try:
        load(library.file)
    except OSError:
        return False
    return True


def _preload_tensorrt() -> None:
    """Load TensorRT from its wheel, whose folder the loader does not search; the parser needs the engine."""
    spec = find_spec("tensorrt_libs")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for name in ("libnvinfer.so.10", "libnvonnxparser.so.10"):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(Path(folder) / name), mode=ctypes.RTLD_GLOBAL)
