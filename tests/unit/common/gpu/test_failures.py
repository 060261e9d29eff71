"""Errors of a GPU are recognised by onnxruntime's messages."""

from __future__ import annotations

import pytest

from common.gpu.failures import DeviceLost, OutOfDeviceMemory, as_device_error

ILLEGAL = (
    "Non-zero status code returned while running MatMul node. Status Message: CUDA failure 700: an illegal memory "
    "access was encountered ; GPU=0 ; hostname=node ; file=cuda_call.cc ; line=121 ; expr=cudaEventSynchronize(event); "
)


@pytest.mark.parametrize(
    "text",
    [
        ILLEGAL,
        "CUDA failure 719: unspecified launch failure ; GPU=0",
        "CUDA error 214: uncorrectable ECC error encountered",
        "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0",
    ],
)
def test_a_sticky_error_is_a_lost_device(text: str):
    """After these errors every call of the process fails."""
    error = as_device_error(RuntimeError(text))
    assert isinstance(error, DeviceLost)
    assert error.status == "UNAVAILABLE"
    assert text.strip() in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size);",
        "Failed to allocate memory for requested buffer of size 1073741824",
        "BFCArena::AllocateRawInternal Available memory of 12 is smaller than requested bytes of 4096",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
    ],
)
def test_too_little_memory_is_not_a_lost_device(text: str):
    """A smaller batch may fit."""
    assert isinstance(as_device_error(RuntimeError(text)), OutOfDeviceMemory)


@pytest.mark.parametrize("text", ["Invalid rank for input", "CUDA failure 1: invalid argument ; GPU=0", "700 of 719"])
def test_other_errors_are_not_the_devices(text: str):
    """A bad input, or an error that passes, says nothing of the GPU."""
    assert as_device_error(ValueError(text)) is None
