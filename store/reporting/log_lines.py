"""Log lines: the log of a process as `[logging]` wants it, text for people or one JSON object a line for programs.

Invariant: once `begin` was called, everything that the process says by `logging`, its warnings and what ends it or one
of its threads is in that form; a line break or an escape code of others never makes a line of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from store.reporting.client_noise import ClientNoise
from store.settings import Logging

_OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a terminal would obey, or take for the end of a line."""

QUIET: Mapping[str, str] = {
    **dict.fromkeys(("faust", "mode", "aiokafka", "kafka"), "ERROR"),
    "aiokafka.consumer.group_coordinator": "CRITICAL",
    "httpx": "WARNING",
}
"""Levels of libraries whose chatter helps nobody; `[logging.levels]` overrides them."""


class JsonLines(logging.Formatter):
    """One JSON object a line: `at` (ISO 8601, UTC), `level`, `process`, `pid`, `logger`, `message` and, where there is
    one, `error` with its traceback."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": iso(record.created),
            "level": record.levelname,
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextLines(logging.Formatter):
    """Lines for people. Only a traceback has more than one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), super().formatMessage(record))


def begin(logging_settings: Logging, process: str) -> None:
    """Sets this process's log up: on standard error, in place of what was set up before."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(process) if logging_settings.format == "json" else TextLines())
    handler.addFilter(ClientNoise())
    logging.basicConfig(level=logging_settings.level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name, level in {**QUIET, **logging_settings.levels}.items():
        logging.getLogger(name).setLevel(level)
    sys.excepthook = _ended
    threading.excepthook = lambda ended: _ended(
        ended.exc_type, ended.exc_value or ended.exc_type(), ended.exc_traceback
    )


def is_json() -> bool:
    """Whether this process's log is JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def message_in(line: str) -> str:
    """What a line of a log says: of one in JSON its message."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line


def iso(at_s: float) -> str:
    """A time as ISO 8601 in UTC, to the millisecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_s))}.{int(at_s % 1 * 1000):03d}Z"


def _ended(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt | asyncio.CancelledError):  # these end what somebody wanted to end
        logging.getLogger("sidestream").critical("ended by %r", error, exc_info=(kind, error, traceback))
