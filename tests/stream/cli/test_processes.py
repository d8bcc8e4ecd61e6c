"""The command line as a process: quick to start, light to load, honest in its status."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from stream.cli.processes import uncollected

ROOT = Path(__file__).parents[3]


def sidestream(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom stream.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = ('torch', 'faust', 'kafka', 'numpy', 'aiohttp', 'httpx', 'opentelemetry')\n"
        "print('heavy:', *(name for name in heavy if name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.rstrip().endswith("heavy:")
    for command in ("up", "demo", "worker", "trainer", "publish", "recommend", "trace", "train", "checkpoints"):
        assert command in ran.stdout


def test_nobody_looks_for_garbage_in_what_is_imported_and_then_again_in_what_comes() -> None:
    before, made = gc.get_freeze_count(), []
    with uncollected():
        assert not gc.isenabled()
        made += [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_help_is_there_at_once() -> None:
    took_s = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert sidestream("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took_s) < 1.0, "of processor time, whatever else the machine does; it takes 0.2 s"


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "uploads", "-", "--bootstrap-servers", "127.0.0.1:1"),
        ("status", "--url", "http://127.0.0.1:1"),
        ("train", "--bootstrap-servers", "127.0.0.1:1"),
        ("demo", "no-such-folder", "--exit"),
        ("replay", "no-such-folder"),
        ("worker", "--settings", "no-such-file.toml"),
    ],
)
def test_what_is_not_there_is_one_line_and_status_1(arguments: tuple[str, ...]) -> None:
    ran = sidestream(*arguments, stdin="{}\n")
    assert ran.returncode == 1
    assert ran.stderr.startswith("sidestream: ")
    assert ran.stderr.count("\n") == 1, ran.stderr


def test_the_module_and_the_command_are_the_same() -> None:
    script = "import stream.cli, sys; sys.exit(0 if callable(stream.cli.main) else 1)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
    assert 'sidestream = "stream.cli:main"' in (ROOT / "pyproject.toml").read_text()
