"""A real Prometheus server on `deploy/`'s own files, with two mechanical substitutions.

1. The targets of `prometheus.yml` are those of a test, and both intervals are a second.
2. With a `factor`, every duration of `alerts.yml` (`for:`, windows in brackets, `offset`) is divided by it: what takes
   two minutes in production takes four seconds with a factor of 30. Expressions, thresholds and labels stay.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from stream.up.ports import free_port
from tests.waiting import PATIENCE_S

DEPLOY = Path(__file__).parents[2] / "deploy"
DURATION = re.compile(r"(\[|for: |offset )(\d+)([smhd])\b")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def why_no_prometheus() -> str | None:
    """Why none can run here, or None if it can."""
    return None if shutil.which("prometheus") else "no `prometheus` on the PATH: apt-get install prometheus"


def hastened(rules: str, factor: int) -> str:
    """Rules with every duration divided by `factor`, in whole seconds, two at least: one holds no two scrapes."""

    def divided(found: re.Match[str]) -> str:
        seconds = max(2, round(int(found[2]) * SECONDS[found[3]] / factor))
        return f"{found[1]}{seconds}s"

    return DURATION.sub(divided, rules)


class Alert(NamedTuple):
    """One that is pending or firing."""

    name: str
    state: str
    labels: Mapping[str, str]


class Prometheus:
    """One server; `targets`: job → addresses."""

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[str]], factor: int = 1) -> None:
        folder.mkdir(parents=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        rules = (DEPLOY / "alerts.yml").read_text()
        (folder / "alerts.yml").write_text(rules if factor == 1 else hastened(rules, factor))
        config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for scrape in config["scrape_configs"]:
            scrape["static_configs"] = [{"targets": list(targets[scrape["job_name"]])}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        with (self._folder / "prometheus.log").open("wb") as log:
            command = ["prometheus", f"--config.file={self._folder / 'prometheus.yml'}", "--log.level=warn"]
            command += [f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address={self.url[7:]}"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while not self._is_ready():
            assert time.monotonic() < end, (self._folder / "prometheus.log").read_text()[-2000:]
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)

    def alerts(self, state: str = "firing") -> list[Alert]:
        """Those of a state, now."""
        found = self._get("alerts")["alerts"]
        named = [Alert(each["labels"].pop("alertname"), each["state"], each["labels"]) for each in found]
        return [alert for alert in named if alert.state == state]

    def fired(self, seconds: float) -> set[str]:
        """The names of those that were firing at any moment of the last `seconds`."""
        fired = self.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds:.0f}s])')
        return {labels["alertname"] for labels, _ in fired}

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The samples of an expression, now."""
        return [(each["metric"], float(each["value"][1])) for each in self._get("query", query=expression)["result"]]

    def _get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False
