"""What is known of the GPU: driver, CUDA, cuDNN, name and memory, asked from NVIDIA's own libraries."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from common.gpu.libraries import LoadLibrary

_DRIVER_VERSION: Final = Path("/sys/module/nvidia/version")
_NAME_BYTES: Final = 256


@dataclass(frozen=True)
class DeviceReport:
    """The first GPU and its software; None where nothing is known.

    Attributes:
        driver: The driver's version, such as ``580.65.06``.
        driver_cuda: The newest CUDA that the driver runs, such as ``13.0``.
        cuda: The CUDA runtime's version.
        cudnn: cuDNN's version, such as ``9.28.1``.
        device: The GPU's name.
        memory_mb: The GPU's memory in MiB.
    """

    driver: str | None = None
    driver_cuda: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    device: str | None = None
    memory_mb: int | None = None

    def known(self) -> dict[str, str | int]:
        """Return what is known, by name, for a line of the log."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def report(
    load: LoadLibrary = ctypes.CDLL, driver_version: Path = _DRIVER_VERSION, cuda_version: str | None = None
) -> DeviceReport:
    """Return what NVIDIA's libraries say of the first GPU; never raises for a library that is not there.

    Args:
        load: Loads a library by its name, and raises OSError if it cannot.
        driver_version: Where the kernel's module says its version.
        cuda_version: Such as ``13.0``; the one that onnxruntime is built for if it is None.
    """
    cuda_major = (ort.cuda_version if cuda_version is None else cuda_version).split(".", 1)[0]
    device, memory_bytes = _first_device(load)
    return DeviceReport(
        driver=_text(driver_version),
        driver_cuda=_version(_integer(load, "libcuda.so.1", "cuDriverGetVersion"), (1_000, 10)),
        cuda=_version(_integer(load, f"libcudart.so.{cuda_major}", "cudaRuntimeGetVersion"), (1_000, 10)),
        cudnn=_version(_cudnn(load), (10_000, 100, 1)),
        device=device,
        memory_mb=None if memory_bytes is None else memory_bytes >> 20,
    )


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return None


def _function(load: LoadLibrary, library: str, name: str) -> Callable[..., Any] | None:
    try:
        function: Callable[..., Any] = getattr(load(library), name)
    except (OSError, AttributeError):
        return None
    return function


def _integer(load: LoadLibrary, library: str, name: str) -> int | None:
    """Return what a function writes into its only argument, an int; None if it fails."""
    value = ctypes.c_int(0)
    function = _function(load, library, name)
    return value.value if function is not None and function(ctypes.byref(value)) == 0 else None


def _cudnn(load: LoadLibrary) -> int | None:
    function = _function(load, "libcudnn.so.9", "cudnnGetVersion")
    return None if function is None else int(function())


def _version(number: int | None, units: tuple[int, ...]) -> str | None:
    """Return a version whose parts are multiples of units: 13000 by 1000 and 10 is 13.0."""
    if not number:
        return None
    parts = []
    for unit in units:
        part, number = divmod(number, unit)
        parts.append(str(part))
    return ".".join(parts)


def _first_device(load: LoadLibrary) -> tuple[str | None, int | None]:
    """Return name and memory in bytes of the first GPU (CUDA driver API, "Device Management")."""
    try:
        driver = load("libcuda.so.1")
    except OSError:
        return None, None
    handle, memory = ctypes.c_int(0), ctypes.c_size_t(0)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(handle), 0):
        return None, None
    name = ctypes.create_string_buffer(_NAME_BYTES)
    named = driver.cuDeviceGetName(name, _NAME_BYTES, handle) == 0
    sized = driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle) == 0
    return (name.value.decode() if named else None), (memory.value if sized else None)
