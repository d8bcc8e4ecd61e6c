"""Log lines: a process logs text or JSON, from the level that it is told; whatever is said, a line stays one line."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from store.reporting.log_lines import JsonLines, TextLines, iso, message_in

ROOT = Path(__file__).parents[3]
SAYING = """
import logging, threading, warnings
from store.reporting.log_lines import begin
from store.settings import load_settings
begin(load_settings(environment={environment!r}).logging, "worker")
log = logging.getLogger("stream.kafka.test")
log.debug("a detail")
log.info("two\\nlines and \\x1b[31mred: %s", "ü")
logging.getLogger("aiokafka.x").warning("chatter")
warnings.warn("something old")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it failed")
thread = threading.Thread(target=lambda: [][1])
thread.start(); thread.join()
raise RuntimeError("the end")
"""


def said(**environment: str) -> str:
    variables = {f"SIDESTREAM_LOGGING__{name.upper()}": value for name, value in environment.items()}
    script = SAYING.format(environment=variables)
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    return ran.stderr


def test_a_json_log_is_json_to_the_end() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in said(format="json").splitlines()]
    assert {(line["process"], type(line["pid"])) for line in lines} == {("worker", int)}
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("INFO", "stream.kafka.test"),
        ("WARNING", "py.warnings"),
        ("ERROR", "stream.kafka.test"),
        ("CRITICAL", "sidestream"),
        ("CRITICAL", "sidestream"),
    ]
    assert lines[0]["message"] == "two\nlines and \x1b[31mred: ü"
    assert lines[0]["at"].startswith(time.strftime("%Y-%m-", time.gmtime()))
    assert [line["error"].strip().splitlines()[-1] for line in lines[2:]] == [
        "ZeroDivisionError: division by zero",
        "IndexError: list index out of range",
        "RuntimeError: the end",
    ]


def test_levels_are_settings_and_parts_have_their_own() -> None:
    text = said(level="ERROR", levels='{"stream.kafka" = "DEBUG", aiokafka = "WARNING"}')
    told = [line for line in text.splitlines() if " DEBUG " in line or " INFO " in line or " WARNING " in line]
    assert [line.split(" ", 2)[2] for line in told] == [
        "DEBUG stream.kafka.test a detail",
        "INFO stream.kafka.test two\\nlines and \x1b[31mred: ü".replace("\x1b", "\\x1b"),
        "WARNING aiokafka.x chatter",
    ]


@pytest.mark.parametrize("form", [JsonLines("up"), TextLines()])
def test_no_text_of_others_makes_a_line(form: logging.Formatter) -> None:
    record = logging.makeLogRecord(
        {"name": "x", "msg": "item %r and %s", "args": ("a\nb", "c\r\nd\u2028e\x1b]0;f\x07")}
    )
    assert len(form.format(record).splitlines()) == 1


def test_the_message_of_a_line() -> None:
    assert message_in('{"message": "it failed", "level": "ERROR"}') == "it failed"
    for line in ("plain", "[1]", '{"other": 1}', ""):
        assert message_in(line) == line


def test_times_are_utc_to_the_millisecond() -> None:
    assert iso(1_700_000_000.0625) == "2023-11-14T22:13:20.062Z"
