"""Topic configurations: Kafka's names, the ones this broker acts on and the ones it only keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.broker.errors import Code, RefusedError


def _number(lowest: int) -> Callable[[str], bool]:
    return lambda value: lowest <= int(value) < 2**63


def _one_of(*choices: str) -> Callable[[str], bool]:
    return lambda value: value in choices


# name: (default, check)
_ACTED_ON: dict[str, tuple[str, Callable[[str], bool]]] = {
    "cleanup.policy": ("delete", lambda value: set(value.split(",")) <= {"delete", "compact"}),
    "retention.ms": (str(7 * 24 * 3600 * 1000), _number(-1)),
    "retention.bytes": ("-1", _number(-1)),
    "segment.bytes": (str(64 * 2**20), _number(14)),
    "segment.ms": (str(7 * 24 * 3600 * 1000), _number(1)),
    "delete.retention.ms": (str(24 * 3600 * 1000), _number(0)),
    "min.compaction.lag.ms": ("0", _number(0)),
    "min.cleanable.dirty.ratio": ("0.5", lambda value: 0.0 <= float(value) <= 1.0),
    "max.message.bytes": (str(16 * 2**20), _number(0)),
    "message.timestamp.type": ("CreateTime", _one_of("CreateTime", "LogAppendTime")),
}
_ONLY_KEPT = {
    "min.insync.replicas": ("1", _number(1)),
    "compression.type": ("producer", _one_of("producer", "uncompressed", "none", "gzip", "snappy", "lz4", "zstd")),
    "max.compaction.lag.ms": (str(2**63 - 1), _number(1)),
    "file.delete.delay.ms": ("60000", _number(0)),
    "flush.messages": (str(2**63 - 1), _number(1)),
    "flush.ms": (str(2**63 - 1), _number(0)),
    "index.interval.bytes": ("4096", _number(0)),
    "segment.index.bytes": (str(10 * 2**20), _number(4)),
    "segment.jitter.ms": ("0", _number(0)),
    "preallocate": ("false", _one_of("true", "false")),
    "unclean.leader.election.enable": ("false", _one_of("true", "false")),
    "message.timestamp.before.max.ms": (str(2**63 - 1), _number(0)),
    "message.timestamp.after.max.ms": ("3600000", _number(0)),
}
_KNOWN = _ACTED_ON | _ONLY_KEPT


@dataclass(frozen=True)
class TopicConfig:
    """A topic's own settings over the broker's defaults; refuses unknown names and impossible values."""

    overrides: Mapping[str, str]
    defaults: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, value in {**self.defaults, **self.overrides}.items():
            if name not in _KNOWN:
                raise RefusedError(Code.INVALID_CONFIG, f"unknown topic config {name}")
            try:
                valid = _KNOWN[name][1](value)
            except (ValueError, AttributeError, TypeError):  # it may be null
                valid = False
            if not valid:
                raise RefusedError(Code.INVALID_CONFIG, f"invalid value {value} for configuration {name}")

    def __getitem__(self, name: str) -> str:
        return self.overrides.get(name) or self.defaults.get(name) or _KNOWN[name][0]

    def described(self) -> dict[str, tuple[str, bool]]:
        """Every setting with its value, and whether it is the default."""
        return {name: (self[name], name not in self.overrides) for name in sorted(_KNOWN)}

    def number(self, name: str) -> int:
        return int(self[name])

    @property
    def compacted(self) -> bool:
        return "compact" in self["cleanup.policy"]

    @property
    def deletes(self) -> bool:
        return "delete" in self["cleanup.policy"]

    @property
    def log_append_time(self) -> bool:
        return self["message.timestamp.type"] == "LogAppendTime"
