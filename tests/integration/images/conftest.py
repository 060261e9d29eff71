"""Images built with buildah and containers run with podman, both without a daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testing.server_process import free_port

TOP: Final = Path(__file__).parents[3]
BASE: Final = "localhost/python:3.11-slim-bookworm"
SERVERS: Final = ("retrieval", "ranking", "gateway")
_START_S: Final = 120.0
# Where /sys/fs/cgroup is not cgroup2, podman finds one in a mount namespace of its own.
_PODMAN: Final = (
    *("unshare", "-m", "bash", "-c"),
    'umount -l -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec podman "$@"',
    "_",
)
_HARDENED: Final = (
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--cgroups=disabled", "--network=host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"),
)


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603 - tools of this machine and our own files
        command, capture_output=True, text=True, check=False, cwd=TOP, env=os.environ | (environment or {})
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2_000:]}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Container:
    """A running container of a server.

    Attributes:
        name: Its name.
        service: Its server.
        target: Its gRPC address.
        start_s: Seconds from the command that ran it until it was SERVING.
    """

    name: str
    service: str
    target: str
    start_s: float


class Engine:
    """Builds images and runs containers in a storage of its own, which keeps layers for the next time."""

    def __init__(self, folder: Path) -> None:
        self._storage = ("--root", str(folder / "root"), "--runroot", str(folder / "runroot"))
        self._storage += ("--storage-driver", "overlay")
        self.buildah = ("buildah", *self._storage)

    def podman(self, *arguments: str) -> str:
        """Run podman; raises RuntimeError with its message."""
        return _run(*_PODMAN, *self._storage, *arguments)

    def build(self) -> None:
        """Build the images of the servers, and their base if it is not there."""
        if BASE not in _run(*self.buildah, "images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
            _run("sh", "deploy/images/base.sh", BASE, *self.buildah)
        options = "--quiet --isolation chroot --pull-never --layers -v /etc/ssl/certs:/etc/ssl/certs:ro"
        environment = {
            "BUILDER": " ".join(self.buildah),
            "BUILD_OPTIONS": f"{options} --build-arg PYTHON_IMAGE={BASE}",
            "TARGETS": " ".join(SERVERS),
            "VERSION": "test",
        }
        _run("sh", "deploy/images/build.sh", environment=environment)

    def image_bytes(self, service: str) -> int:
        """Return the size of a server's image."""
        return int(self.podman("image", "inspect", "--format", "{{.Size}}", f"localhost/shortlist-{service}:test"))

    @contextmanager
    def running(self, service: str, settings: dict[str, str], volumes: list[str]) -> Iterator[Container]:
        """Run a server's container as the chart does, until the body ends."""
        name, port = f"shortlist-test-{service}-{os.getpid()}", free_port()
        prefix = f"SHORTLIST_{service.upper()}"
        given = {"HOST": "127.0.0.1", "PORT": str(port), "METRICS_PORT": "0", **settings}
        flags = [part for key, value in given.items() for part in ("--env", f"{prefix}_{key}={value}")]
        flags += [part for volume in volumes for part in ("--volume", volume)]
        began = time.monotonic()
        self.podman("run", "--detach", "--name", name, *_HARDENED, *flags, f"localhost/shortlist-{service}:test")
        try:
            target = f"127.0.0.1:{port}"
            self._await_serving(target, name)
            yield Container(name, service, target, time.monotonic() - began)
        finally:
            self.podman("rm", "--force", "--ignore", name)

    def pid(self, container: Container) -> int:
        """Return the process of a container on this machine."""
        return int(self.podman("inspect", "--format", "{{.State.Pid}}", container.name))

    def stop(self, container: Container) -> int:
        """Send SIGTERM; returns the exit code, 137 if it had to be killed after 30 s."""
        self.podman("stop", "--time", "30", container.name)
        return int(self.podman("inspect", "--format", "{{.State.ExitCode}}", container.name))

    def _await_serving(self, target: str, name: str) -> None:
        last = time.monotonic() + _START_S
        while time.monotonic() < last:
            with grpc.insecure_channel(target) as channel:
                try:
                    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)  # type: ignore[no-untyped-call]
                except grpc.RpcError:
                    if self.podman("inspect", "--format", "{{.State.Running}}", name) != "true":
                        break
                    time.sleep(0.05)
                    continue
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.05)
        pytest.fail(f"{name} does not serve: {self.podman('logs', name)[-2_000:]}")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Return an engine with the images built, or skip with the reason."""
    folder = os.environ.get("SHORTLIST_IMAGES")
    if folder is None:
        pytest.skip("containers are tested with `make test-images`")
    for program in ("buildah", "podman", "unshare"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("containers are run as root here, and the process inside them as 10001")
    made = Engine(Path(folder))
    made.build()
    return made


@pytest.fixture(scope="module")
def containers(
    engine: Engine, tiny_release: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Container]]:
    """Return the three servers, which serve the tiny shop from volumes."""
    profiles = tmp_path_factory.mktemp("profiles")
    os.chown(profiles, 10_001, 10_001)
    for folder in (profiles, *profiles.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    release = f"{_readable_copy(tiny_release)}:/release:ro"
    with ExitStack() as stack:
        running = {
            service: stack.enter_context(engine.running(service, {"RELEASE": "/release"}, [release]))
            for service in ("retrieval", "ranking")
        }
        targets = {f"{service.upper()}_TARGET": container.target for service, container in running.items()}
        settings = {**targets, "PROFILES": "/profiles/profiles.sqlite3", "DEFAULT_TIMEOUT_S": "10"}
        settings["REQUEST_TIMEOUT_S"] = "10"
        running["gateway"] = stack.enter_context(engine.running("gateway", settings, [f"{profiles}:/profiles"]))
        yield running


def _readable_copy(release: Path) -> Path:
    """Return a copy that the user of the containers can read."""
    copy = release.parent / "readable"
    shutil.copytree(release, copy)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy
