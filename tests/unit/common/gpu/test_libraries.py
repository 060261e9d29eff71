"""What the CUDA and TensorRT providers need, and what is said where it is missing."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from common.gpu import libraries

CUDA_13 = {
    "libcuda.so.1": "the NVIDIA driver",
    "libcudart.so.13": "nvidia-cuda-runtime",
    "libcublasLt.so.13": "nvidia-cublas",
    "libcublas.so.13": "nvidia-cublas",
    "libnvrtc.so.13": "nvidia-cuda-nvrtc",
    "libcurand.so.10": "nvidia-curand",
    "libcufft.so.12": "nvidia-cufft",
    "libcudnn.so.9": "nvidia-cudnn-cu13",
}


def loader(found: Collection[str]) -> Callable[[str], None]:
    """Return a loader that finds these libraries alone."""

    def load(name: str) -> None:
        if name not in found:
            raise OSError(f"{name}: cannot open shared object file")

    return load


def test_the_cpu_needs_nothing():
    """The CPU's provider, and an onnxruntime without CUDA, need no libraries."""
    assert libraries.missing("cpu", loader(()), "13.0") == []
    assert libraries.missing("cuda", loader(()), "") == []


def test_cuda_needs_the_libraries_of_its_major_version():
    """The names of libraries and packages follow the CUDA that onnxruntime is built for."""
    assert {item.file: item.package for item in libraries.required("cuda", "13.0")} == CUDA_13
    of_12 = {item.file: item.package for item in libraries.required("cuda", "12.8")}
    assert of_12["libcufft.so.11"] == "nvidia-cufft-cu12"
    assert of_12["libcudart.so.12"] == "nvidia-cuda-runtime-cu12"


def test_tensorrt_needs_its_engine_and_parser_too():
    """TensorRT needs all that CUDA needs, and its own libraries."""
    files = [item.file for item in libraries.required("tensorrt", "13.0")]
    assert files == [*CUDA_13, "libnvinfer.so.10", "libnvonnxparser.so.10"]


@pytest.mark.parametrize("lost", CUDA_13)
def test_a_missing_library_is_named(lost: str):
    """Each library that does not load is returned; the others are not."""
    found = libraries.missing("cuda", loader(CUDA_13.keys() - {lost}), "13.0")
    assert [item.file for item in found] == [lost]


def test_each_remedy_is_said_once():
    """The text names each library, its package, and each command once."""
    text = libraries.explain(libraries.missing("tensorrt", loader(()), "13.0"))
    for file, package in CUDA_13.items():
        assert f"{file} ({package})" in text
    assert text.count(".[ranking-gpu]") == 1
    assert text.count(".[ranking-tensorrt]") == 1
    assert text.count("driver, or start") == 1
