"""The errors of a GPU, recognised by onnxruntime's messages: too little memory, and a lost context.

onnxruntime reports a CUDA error as ``CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; …``. After
some errors every later call of the process fails as well, until the process is started again (CUDA Runtime API,
"cudaError": "the process must be terminated and relaunched").
"""

from __future__ import annotations

import re
from typing import Final

from common.errors import NotReady, Overloaded

_CUDA_FAILURE: Final = re.compile(r"CUDA (?:failure|error) (\d+)", re.IGNORECASE)
_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|failed to allocate memory|is smaller than requested bytes|CUDNN_STATUS_ALLOC_FAILED"
    r"|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_MEMORY_CODE: Final = 2
# Uncorrectable memory and link errors; illegal address, timeout and destroyed context; assertion; hardware stack,
# instruction, alignment, address space, program counter and launch; unknown.
_LOST_CODES: Final = frozenset({214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999})
_LOST_TEXT: Final = re.compile(
    r"illegal memory access|unspecified launch failure|device-side assert|misaligned address|uncorrectable ECC"
    r"|CUBLAS_STATUS_EXECUTION_FAILED|CUDNN_STATUS_EXECUTION_FAILED",
    re.IGNORECASE,
)


class DeviceLost(NotReady):
    """The GPU's context is lost: every later call of this process fails too. Only a new process helps."""


class OutOfDeviceMemory(Overloaded):
    """The GPU has too little free memory for a batch; a smaller one may fit."""


def as_device_error(error: Exception) -> DeviceLost | OutOfDeviceMemory | None:
    """Return what an error of onnxruntime says of the GPU; None if it is no such error."""
    text = str(error)
    code = int(found[1]) if (found := _CUDA_FAILURE.search(text)) else None
    if code in _LOST_CODES or (code is None and _LOST_TEXT.search(text)):
        return DeviceLost(f"the GPU is lost until this process is started again: {_first_line(text)}")
    if code == _MEMORY_CODE or _OUT_OF_MEMORY.search(text):
        return OutOfDeviceMemory(f"the GPU has too little memory for a batch: {_first_line(text)}")
    return None


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
