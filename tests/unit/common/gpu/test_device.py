"""What NVIDIA's libraries say of the GPU, through stand-ins for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.gpu.device import DeviceReport, report


class Driver:
    """The driver of a machine with one GPU of 80 GiB; ``count`` 0 for none."""

    def __init__(self, count: int = 1) -> None:
        self._status = 0 if count else 100

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's names
        """Return CUDA_ERROR_NO_DEVICE without a GPU."""
        assert flags == 0
        return self._status

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        """Say CUDA 13.1."""
        version._obj.value = 13_010
        return 0

    def cuDeviceGet(self, handle: Any, number: int) -> int:  # noqa: N802
        """Give the only GPU."""
        handle._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, size: int, handle: Any) -> int:  # noqa: N802
        """Name the GPU."""
        assert (size, handle.value) == (256, 0)
        name.value = b"NVIDIA X80"
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, handle: Any) -> int:  # noqa: N802
        """Say 80 GiB."""
        assert handle.value == 0
        size._obj.value = 80 << 30
        return 0


class Runtime:
    """The CUDA runtime, 13.0."""

    def cudaRuntimeGetVersion(self, version: Any) -> int:  # noqa: N802
        """Say 13.0."""
        version._obj.value = 13_000
        return 0


class Cudnn:
    """CuDNN 9.28.1."""

    def cudnnGetVersion(self) -> int:  # noqa: N802
        """Say 9.28.1."""
        return 92_801


def loader(**libraries: Any) -> Any:
    """Return a loader of these libraries, by the first part of their names."""

    def load(name: str) -> Any:
        if (stem := name.split(".", maxsplit=1)[0]) not in libraries:
            raise OSError(name)
        return libraries[stem]

    return load


def test_all_that_is_known_is_reported(tmp_path: Path):
    """Driver, CUDA, cuDNN, the GPU's name and its memory."""
    (tmp_path / "version").write_text("580.65.06\n")
    load = loader(libcuda=Driver(), libcudart=Runtime(), libcudnn=Cudnn())
    found = report(load, tmp_path / "version", "13.0")
    assert found == DeviceReport("580.65.06", "13.1", "13.0", "9.28.1", "NVIDIA X80", 81_920)


def test_what_is_not_there_is_left_out(tmp_path: Path):
    """Without libraries nothing is known; with a driver and no GPU the driver is."""
    assert report(loader(), tmp_path / "none", "13.0").known() == {}
    assert report(loader(libcuda=Driver(0)), tmp_path / "none", "13.0").known() == {"driver_cuda": "13.1"}
