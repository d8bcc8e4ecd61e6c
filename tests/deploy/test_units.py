"""The units name commands, settings and folders that exist, are hardened, and systemd accepts them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import typer

from store.settings import Serving, load_settings, unguarded
from stream.cli import app
from stream.worker_process import STOP_TIMEOUT_S
from tests.deploy.built import DEPLOY

UNITS = DEPLOY / "systemd"
WORKER, TRAINER, TOPICS = "sidestream-worker@.service", "sidestream-trainer.service", "sidestream-topics.service"
PROGRAM = "/opt/sidestream/bin/sidestream"
EXPOSED = 20
"""Tenths on systemd's own scale, at most: 1 is locked away, 100 unprotected."""
every_unit = pytest.mark.parametrize("unit", [WORKER, TRAINER, TOPICS])


def keys_of(unit: str) -> dict[str, list[str]]:
    """Key → its values, in order; a key may come more than once."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (UNITS / unit).read_text().splitlines():
        if re.match(r"[A-Z]\w+=", line):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def example(name: str) -> dict[str, str]:
    """The variables of an example, those that are commented out, too."""
    return dict(re.findall(r"^#?(SIDESTREAM_\w+)=(.*)$", (UNITS / name).read_text(), re.MULTILINE))


def environment_of(unit: str) -> dict[str, str]:
    """What a process of the unit gets: its own variables, then the example's."""
    own = dict(line.partition("=")[::2] for line in keys_of(unit)["Environment"])
    files = keys_of(unit)["EnvironmentFile"]
    more = {} if unit != WORKER else example("worker-1.env.example")
    assert files == ["-/etc/sidestream/sidestream.env", *(["-/etc/sidestream/worker-%i.env"] if more else [])]
    return {**own, **example("sidestream.env.example"), **more}


@every_unit
def test_units_run_commands_that_exist(unit: str) -> None:
    (line,) = keys_of(unit)["ExecStart"]
    program, *words = line.split()
    assert program == PROGRAM
    found: Any = typer.main.get_command(app)
    for word in words:
        found = found.commands[word]
    assert words[0] in unit


@every_unit
def test_variables_are_settings(unit: str) -> None:
    environment = environment_of(unit)
    assert environment.pop("SIDESTREAM_SETTINGS") == "/etc/sidestream/sidestream.toml"
    settings = load_settings(None, environment)
    assert unguarded(settings.serving) == ""
    folders = {f"/var/lib/{name}" for line in keys_of(unit)["StateDirectory"] for name in line.split()}
    made = {line.split()[1] for line in (UNITS / "sidestream.tmpfiles").read_text().splitlines() if line[:1] == "d"}
    if unit != TOPICS:
        assert settings.data_dir in folders
        assert settings.checkpoint_dir in made
        assert (settings.checkpoint_dir in folders) is (unit == TRAINER), "workers only read checkpoints"


def test_two_workers_of_a_machine_share_no_folder_and_no_file() -> None:
    keys = keys_of(WORKER)
    for key in ("StateDirectory", "ExecStart"):
        assert len(keys[key]) == 1
    assert keys["StateDirectory"] == ["sidestream/worker-%i"]
    assert "SIDESTREAM_DATA_DIR=/var/lib/sidestream/worker-%i" in keys["Environment"]


@every_unit
def test_what_ends_is_started_again_for_as_long_as_it_takes(unit: str) -> None:
    """A broker may be away for longer than any count of starts, and a unit that has given up needs a person."""
    keys = keys_of(unit)
    assert keys["Restart"] == ["on-failure" if unit == TOPICS else "always"]
    assert keys["StartLimitIntervalSec"] == ["0"]
    assert int(keys["RestartSec"][0]) >= 1


def test_a_worker_drains_before_it_is_killed() -> None:
    assert int(keys_of(WORKER)["TimeoutStopSec"][0]) >= Serving().drain_s + STOP_TIMEOUT_S + 5.0


@every_unit
def test_units_run_as_a_user_that_is_made_and_are_bounded(unit: str) -> None:
    keys = keys_of(unit)
    assert keys["User"] == keys["Group"] == ["sidestream"]
    assert "u sidestream " in (UNITS / "sidestream.sysusers").read_text()
    assert keys["ProtectSystem"] == ["strict"]
    assert keys["NoNewPrivileges"] == ["yes"]
    assert keys["CapabilityBoundingSet"] == [""]
    assert keys["MemoryMax"]
    assert keys["TasksMax"]


def systemd_analyze(*arguments: str, unit: str, folder: Path) -> str:
    """Asked about a unit whose program is there."""
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    program = shutil.which("true")
    assert program is not None
    for name in (WORKER, TRAINER, TOPICS):
        (folder / name).write_text((UNITS / name).read_text().replace(PROGRAM, program))
    command = [found, *arguments, str(folder / unit.replace("@.", "@1."))]
    if unit == WORKER:
        os.symlink(folder / WORKER, folder / "sidestream-worker@1.service")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


@every_unit
def test_systemd_knows_every_key(unit: str, tmp_path: Path) -> None:
    told = systemd_analyze("verify", unit=unit, folder=tmp_path)
    assert str(tmp_path) not in told, told


@every_unit
def test_systemd_finds_little_exposed(unit: str, tmp_path: Path) -> None:
    arguments = ("security", "--offline=true", f"--threshold={EXPOSED}", "--no-pager")
    systemd_analyze(*arguments, unit=unit, folder=tmp_path)


def test_examples_hold_no_secret_that_somebody_could_leave_as_it_is() -> None:
    """A worker beyond its machine starts only with tokens: so it is not started by a copied example."""
    for file in UNITS.glob("*.example"):
        given = dict(re.findall(r"^(SIDESTREAM_\w+)=(.*)$", file.read_text(), re.MULTILINE))
        assert not [name for name in given if "TOKENS" in name or name.endswith("PASSWORD")]
    own = re.findall(r"^(SIDESTREAM_\w+)=(.*)$", (UNITS / "sidestream.env.example").read_text(), re.MULTILINE)
    assert "tokens" in unguarded(load_settings(None, dict(own)).serving)
