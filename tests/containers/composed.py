"""deploy/compose.yaml under podman-compose: brought up service by service, asked, hurt, upgraded, and taken away.

What a test must have otherwise is in a second compose file that lies over the first: a small model, short runs, and one
project name of its own. Health is asked for here (`podman healthcheck run`): podman's own timers need systemd.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from store.settings import Settings, settings_from
from tests.clusters import REPOSITORY
from tests.containers.podman import PodmanError, built, environment, kafka_image, podman, prometheus_image
from tests.waiting import PATIENCE_S, eventually

DEPLOY = REPOSITORY / "deploy"
WORKERS = {"worker-1": "http://127.0.0.1:8481", "worker-2": "http://127.0.0.1:8482"}
KAFKA, PROMETHEUS = "127.0.0.1:29092", "http://127.0.0.1:9090"
SMALL: dict[str, str] = {
    "CODEBOOK__WIDTH": "32",
    "CODEBOOK__LEARN_AFTER_ITEMS": "200",
    "MODEL__LAYERS": "1",
    "MODEL__WIDTH": "32",
    "MODEL__HEADS": "2",
    "MODEL__TEXT_VOCABULARY": "512",
    "MODEL__HISTORY": "20",
    "TRAINING__MAX_SECONDS": "5.0",
    "TRAINING__FIRST_ENGAGEMENTS": "1000000000",
    "TRAINING__MIN_ENGAGEMENTS": "100",
    "TRAINING__GATE_ENGAGEMENTS": "200",
    "TRAINING__GATE_LEAST_EVENTS": "5",
    "TRAINING__GATE_FLOOR": "0.0",
    "TRAINING__GATE_EXAMPLES": "1000000",
    "TRAINING__GATE_TOLERANCE": "1.0",
}
"""A run of seconds that any gate passes: whether a model is good is asked elsewhere."""


class Composed:
    """The services of the compose file, in a project of their own; `folder` holds its secrets."""

    project = "sidestream-test"

    def __init__(self, folder: Path) -> None:
        self._secrets = folder / "secrets"
        subprocess.run([DEPLOY / "secrets.sh", self._secrets], check=True)
        self._over = folder / "compose.small.yaml"
        small = {f"SIDESTREAM_{name}": value for name, value in SMALL.items()}
        services = {name: {"environment": small} for name in ("topics", *WORKERS, "trainer")}
        self._over.write_text(yaml.safe_dump({"services": services}))

    def images(self) -> None:
        """All that this machine can have, under the names that the file has; the tags are `latest` and `next`."""
        services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        kafka_image(services["kafka"]["image"])
        prometheus_image(services["prometheus"]["image"])
        podman("tag", built("sidestream:latest"), "sidestream:previous")
        built("sidestream:next", RELEASE="next")

    def compose(self, *arguments: str, tag: str = "latest") -> str:
        command = [sys.executable, "-m", "podman_compose", "-p", self.project]
        command += ["-f", str(DEPLOY / "compose.yaml"), "-f", str(self._over), *arguments]
        env = {**environment(), "SIDESTREAM_SECRETS": str(self._secrets), "SIDESTREAM_TAG": tag}
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        if ran.returncode:
            raise PodmanError(f"podman-compose {' '.join(arguments)}: {ran.stderr[-2000:]}{ran.stdout[-1000:]}")
        return ran.stdout

    def up(self, service: str, tag: str = "latest") -> None:
        """Starts one service, without those that it depends on, and waits until it is healthy."""
        began = time.monotonic()
        self.compose("up", "--detach", "--no-deps", "--no-build", service, tag=tag)
        eventually(lambda: self.is_healthy(service))
        print(f"{service} {tag}: healthy after {time.monotonic() - began:.1f} s", flush=True)

    def run_topics(self) -> None:
        self.compose("up", "--detach", "--no-deps", "--no-build", "topics")
        eventually(lambda: self.state("topics")["Status"] == "exited")
        assert self.state("topics")["ExitCode"] == 0, self.logs("topics")

    def replace(self, service: str, tag: str) -> int:
        """The service from another image on the same volumes; the exit status of the container before."""
        podman("stop", "--time=30", self.container(service))
        status = int(self.state(service)["ExitCode"])
        podman("rm", "--volumes", self.container(service))
        self.up(service, tag)
        return status

    def kill(self, service: str) -> None:
        """SIGKILL of its process, as the kernel does it when memory is short."""
        os.kill(int(self.state(service)["Pid"]), signal.SIGKILL)

    def container(self, service: str) -> str:
        labels = {"io.podman.compose.project": self.project, "com.docker.compose.service": service}
        filters = [f"--filter=label={name}={value}" for name, value in labels.items()]
        return podman("ps", "--all", "--quiet", *filters)

    def state(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(podman("inspect", self.container(service)))[0]["State"]
        return found

    def image(self, service: str) -> str:
        return podman("inspect", "--format={{.ImageName}}", self.container(service))

    def is_healthy(self, service: str) -> bool:
        """Whether its own health check passes; of one that has none, whether it runs."""
        try:
            podman("healthcheck", "run", self.container(service))
        except PodmanError as error:
            assert self.state(service)["Status"] != "exited", self.logs(service)
            return "no defined healthcheck" in str(error) and self.state(service)["Running"]
        return True

    def logs(self, service: str) -> str:
        ran = subprocess.run(
            ["podman", "logs", "--tail=40", self.container(service)],
            env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        return ran.stdout + ran.stderr

    def settings(self) -> Settings:
        """Of a client on this machine, which comes in by the outer listener."""
        secrets = self._secrets / "sidestream"
        security = {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "sidestream"}
        security |= {"password_file": str(secrets / "kafka-password"), "ca_file": str(secrets / "ca.pem")}
        partitions = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["x-settings"]["SIDESTREAM_KAFKA__PARTITIONS"]
        kafka = {"bootstrap_servers": KAFKA, "partitions": int(partitions), "security": security}
        return settings_from({"kafka": kafka})

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "5")
        podman("volume", "prune", "--force")  # those without a name, of the images


def prometheus_api(path: str, **parameters: str) -> Any:
    """What the Prometheus of the compose file answers."""
    answer = httpx.get(f"{PROMETHEUS}/api/v1/{path}", params=parameters, timeout=10).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def await_reachable() -> None:
    """Both workers and Prometheus, by the ports that are published."""
    for url in (*(f"{worker}/readyz" for worker in WORKERS.values()), f"{PROMETHEUS}/-/ready"):
        eventually(lambda url=url: _answers(url), PATIENCE_S)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=3).status_code == 200
    except httpx.HTTPError:
        return False
