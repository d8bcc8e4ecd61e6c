"""The image: what is in it, and a worker in it that is asked, stopped, and started again on the same volumes.

It runs as in a strict cluster: root file system read-only, no capability, no shell (none can be started: the shells are
hidden). `pytest -s` tells what goes on; sizes and times are in docs/log/2026-11-28-containers.md.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidestream import Client, Publisher
from stream.client.client import NotFoundError
from stream.up.ports import free_port
from tests.clusters import EmbeddedCluster
from tests.containers.podman import PodmanError, built, has, podman, why_no_podman
from tests.waiting import PATIENCE_S, eventually

MOST_BYTES = 1_200_000_000
STOPPED_WITHIN_S = 30
SHELLS = ("/bin/sh", "/bin/bash", "/bin/dash")
STRICT = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)

pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def image() -> str:
    if reason := why_no_podman():
        pytest.skip(reason)
    began = time.monotonic()
    name = built("sidestream:test")
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)
    return name


class Contained:
    """A worker in a container of the host's network, with volumes of its own that outlive the container."""

    def __init__(self, image: str, bootstrap_servers: str) -> None:
        self._image, self._name = image, f"sidestream-test-{uuid.uuid4().hex[:8]}"
        self.bootstrap_servers, self.port = bootstrap_servers, free_port()
        self._settings = {
            "SIDESTREAM_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
            "SIDESTREAM_SERVING__PORT": str(self.port),
            "SIDESTREAM_SERVING__OPEN": "true",
        }
        self._volumes = {f"{self._name}-{place}": f"/var/lib/{place}" for place in ("sidestream", "checkpoints")}

    def options(self) -> list[str]:
        hidden = [f"--volume=/dev/null:{shell}:ro" for shell in SHELLS]
        kept = [f"--volume={volume}:{place}" for volume, place in self._volumes.items()]
        given = [f"--env={name}={value}" for name, value in self._settings.items()]
        return [*STRICT, "--network=host", *hidden, *kept, *given]

    def command(self, *arguments: str) -> str:
        """One command of the image, to its end."""
        return podman("run", "--rm", *self.options(), self._image, *arguments)

    def start(self) -> None:
        podman("run", "--detach", f"--name={self._name}", *self.options(), self._image)
        with Client(f"http://127.0.0.1:{self.port}") as client:
            client.wait_until_ready(PATIENCE_S)

    def run(self, *command: str) -> str:
        """A command beside the worker, in its container."""
        return podman("exec", self._name, *command)

    def is_healthy(self) -> bool:
        try:
            podman("healthcheck", "run", self._name)
        except PodmanError:
            return False
        return True

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit status, and after how many seconds it came. The container goes, its volumes stay."""
        began = time.monotonic()
        podman("stop", f"--time={STOPPED_WITHIN_S}", self._name)
        took_s = time.monotonic() - began
        status = int(podman("inspect", "--format={{.State.ExitCode}}", self._name))
        podman("rm", self._name)
        return status, took_s

    def remove(self) -> None:
        if has("container", self._name):
            podman("rm", "--force", "--time=0", self._name)
        for volume in self._volumes:
            if has("volume", volume):
                podman("volume", "rm", volume)


@pytest.fixture
def contained(image: str, tmp_path: Path) -> Iterator[Contained]:
    cluster = EmbeddedCluster(tmp_path / "broker")
    cluster.start()
    worker = Contained(image, cluster.bootstrap_servers)
    try:
        worker.command("topics", "create")
        yield worker
    finally:
        worker.remove()
        cluster.stop()


def test_what_is_in_it(image: str) -> None:
    told = json.loads(podman("image", "inspect", image))[0]
    size, config = told["Size"], told["Config"]
    parts = podman("run", "--rm", "--entrypoint=python", image, "-c", PARTS)
    print(f"{size / 1e6:.0f} MB\n{parts}", flush=True)
    assert size <= MOST_BYTES
    assert config["User"] == "10001"
    assert config["Entrypoint"] == ["sidestream"]
    assert set(config["Volumes"]) == {"/var/lib/sidestream", "/var/lib/checkpoints"}
    assert told["Healthcheck"]["Test"][0] == "CMD", "CMD-SHELL needs a shell"


PARTS = """
import pathlib
def megabytes(place):
    return sum(f.lstat().st_size for f in place.rglob("*") if f.is_file() and not f.is_symlink()) / 1e6
packages = pathlib.Path("/opt/sidestream/lib/python3.11/site-packages")
parts = sorted(((megabytes(p), p.name) for p in packages.iterdir() if p.is_dir()), reverse=True)
bytecode = sum(f.stat().st_size for f in packages.rglob("*.pyc")) / 1e6
print(f"{megabytes(packages):.0f} MB of packages, {bytecode:.0f} MB of it bytecode")
print(", ".join(f"{name} {size:.0f}" for size, name in parts[:14]))
"""


def test_a_worker_is_asked_stopped_and_started_again_on_its_volumes(contained: Contained) -> None:
    began = time.monotonic()
    contained.start()
    print(f"ready after {time.monotonic() - began:.1f} s", flush=True)
    assert contained.run("python", "-c", "import os; print(os.getuid())") == "10001"
    with pytest.raises(PodmanError, match="Read-only file system"):
        contained.run("python", "-c", "open('/opt/sidestream/new', 'w')")
    with pytest.raises(PodmanError):
        contained.run("sh", "-c", "true")
    eventually(contained.is_healthy)
    clicked = publish(contained)
    status, took_s = contained.stop()
    print(f"stopped after {took_s:.1f} s with status {status}", flush=True)
    assert status == 0
    assert took_s < STOPPED_WITHIN_S
    contained.start()
    with Client(f"http://127.0.0.1:{contained.port}") as client:
        assert history(client) == clicked, "the rows are those of the volume"
        assert client.recommend("somebody", k=5).items
    assert contained.stop()[0] == 0


def publish(contained: Contained) -> list[str]:
    """Uploads and clicks; returns the clicked items once they show in the user's history and in what is recommended."""
    clicked = [f"item-{number}" for number in range(3)]
    with Publisher(contained.bootstrap_servers) as publisher, Client(f"http://127.0.0.1:{contained.port}") as client:
        for number in range(20):
            publisher.upload({"item_id": f"item-{number}", "uploaded_at": time.time(), "title": f"A tale of {number}"})
        publisher.flush(PATIENCE_S)
        for number, item in enumerate(clicked):
            event = {"event_id": f"click-{number}", "user_id": "somebody", "item_id": item, "kind": "click"}
            publisher.engagement({**event, "occurred_at": time.time()})
        publisher.flush(PATIENCE_S)
        eventually(lambda: history(client) == clicked)
        answer = eventually(lambda: client.recommend("somebody", k=5).items)
        assert not {line.item_id for line in answer} & {*clicked}
    return clicked


def history(client: Client) -> list[str]:
    try:
        return [entry["item_id"] for entry in client.user("somebody")["history"]]
    except NotFoundError:
        return []
