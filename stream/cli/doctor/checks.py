"""Checks: what is looked at, each a function that says what it saw, or raises with what to do.

Invariant: a check that cannot be made has failed: what is not known is not shown as good.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.schemas.registry import Registry
from store.settings import Settings
from store.topics import ENGAGEMENTS, RANKING_EXAMPLES, UPLOADS, trainer_group
from stream.kafka.access import TRAINER, check_access, check_worker
from stream.kafka.connections import admin_client
from stream.kafka.topics import TOPICS, TopicSpec, check_topics, describe_topics, kept_counts

DAY_S = 86_400.0
LEAST_DISK_SHARE, LEAST_DISK_BYTES = 0.1, 1 << 30
MOST_CLOCK_S = 5.0
NO_SCHEMA = (1 << 31) - 1
"""An id that no registry has given."""
OWNERS = ("up", "worker", "trainer", "broker")


class NotWellError(RuntimeError):
    """Something is not as it must be: the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `told` is what was seen, or what to do."""

    check: str
    ok: bool
    told: str


Check = Callable[[Settings], str]


def brokers(settings: Settings) -> str:
    silent = []
    servers = settings.kafka.bootstrap_servers.split(",")
    for server in servers:
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), settings.kafka.connect_timeout_s).close()
        except (OSError, ValueError) as error:
            silent.append(f"{server.strip()} ({error})")
    if silent:
        raise NotWellError(f"no connection to {', '.join(silent)}: start it, or correct --bootstrap-servers")
    return f"{len(servers)} of {len(servers)} bootstrap servers take connections"


def security(settings: Settings) -> str:
    check_worker(settings)
    check_access(settings, TRAINER, group=trainer_group(settings.kafka.group))
    return f"{settings.kafka.security.protocol or 'PLAINTEXT'}: let in, and nothing that a process needs is refused"


def schemas(settings: Settings) -> str:
    said = settings.kafka.registry
    if not said.url:
        return "no schema registry is named (kafka.registry.url), so records with a schema would be refused"
    with closing(Registry(said)) as registry:
        registry.fetch(NO_SCHEMA)
    return f"the registry at {said.url} answers"


def topics(settings: Settings) -> str:
    states = describe_topics(settings)
    check_topics(states, settings)
    return f"all {len(states)} are there and fit together"


def partitions(settings: Settings) -> str:
    states = describe_topics(settings)
    if note := kept_counts(states, settings):
        raise NotWellError(note)
    alone = [state.full_name for state in states if 0 < state.replication < 2]
    copies = f"; one copy only of {len(alone)} topics: a broker that is lost takes them along" if alone else ""
    return f"{settings.kafka.partitions} in each topic{copies}"


def retention(settings: Settings) -> str:
    """A run reads what came since the one before it: what is gone by then is never learned from."""
    need_s = max(2 * settings.training.every_s, DAY_S)
    short = []
    for name in (ENGAGEMENTS, RANKING_EXAMPLES):
        kept_ms = int(_configs(settings, name).get("retention.ms") or -1)
        if 0 <= kept_ms < need_s * 1000:
            short.append(f"{settings.topic(name)} keeps {kept_ms / 3.6e6:.1f} h")
    if short:
        raise NotWellError(f"{', '.join(short)}, and training needs {need_s / 3600:.0f} h: raise retention.ms")
    return f"engagements and examples are kept for at least {need_s / 3600:.0f} h, twice what lies between two runs"


def compaction(settings: Settings) -> str:
    wrong = [told for spec in TOPICS if (told := _wrongly_cleaned(settings, spec))]
    if wrong:
        raise NotWellError(f"{'; '.join(wrong)}: set it on the topic, or rows and items are lost")
    return "each topic is cleaned up as what it holds needs"


def clocks(settings: Settings) -> str:
    """A broker gives the records of these topics its own time."""
    from kafka.admin import OffsetSpec
    from kafka.structs import TopicPartition

    with admin_client(settings) as admin:
        counts = {entry["name"]: len(entry["partitions"]) for entry in admin.describe_topics(_names(settings))}
        places = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
        found = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.MAX_TIMESTAMP))
    newest_s = max((each.timestamp for each in found.values()), default=-1) / 1000
    if newest_s <= 0:
        return "nothing was published yet, so there is no time of the brokers to compare with"
    ahead_s = newest_s - time.time()
    if ahead_s > MOST_CLOCK_S:
        raise NotWellError(f"the brokers' newest record is {ahead_s:.1f} s ahead of this machine: set its clock (NTP)")
    return f"this machine is not behind the brokers: their newest record is {-ahead_s:.0f} s old"


def disk(settings: Settings) -> str:
    folder = _existing(Path(settings.data_dir))
    usage = shutil.disk_usage(folder)
    free = f"{usage.free / 2**30:.1f} GiB of {usage.total / 2**30:.1f} free under {settings.data_dir}"
    if usage.free < max(LEAST_DISK_BYTES, LEAST_DISK_SHARE * usage.total):
        raise NotWellError(f"{free}: make room, or move the data folder (--data-dir)")
    return free


def versions(settings: Settings) -> str:
    from importlib.metadata import PackageNotFoundError, version

    told = [f"Python {sys.version.split()[0]}"]
    for name in ("sidestream", "faust-streaming", "aiokafka", "kafka-python", "rocksdict", "torch"):
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            if name != "sidestream":
                raise NotWellError(f"{name} is not installed: install sidestream again") from None
            told.append("sidestream from a checkout")
    unnamed = [state.full_name for state in describe_topics(settings) if state.partitions and not state.topic_id]
    if unnamed:
        raise NotWellError("the brokers give topics no ids (before Kafka 2.8): one made anew is not noticed; upgrade")
    return ", ".join(told)


def folder_locks(settings: Settings) -> str:
    folder = Path(settings.data_dir)
    if not folder.exists():
        return f"{folder} is not there yet, and is made by the first start"
    held = [told for path in sorted(folder.rglob("*.lock")) if path.stem in OWNERS and (told := _holder(path))]
    return "; ".join(held) if held else f"nobody holds {folder}"


CHECKS: Mapping[str, Check] = {
    "brokers": brokers,
    "security": security,
    "schemas": schemas,
    "topics": topics,
    "partitions": partitions,
    "retention": retention,
    "compaction": compaction,
    "clocks": clocks,
    "disk": disk,
    "versions": versions,
    "folder locks": folder_locks,
}


def examine(settings: Settings, checks: Mapping[str, Check] = CHECKS) -> list[Finding]:
    """What every check finds; one that fails keeps no other from being made."""
    return [_found(name, check, settings) for name, check in checks.items()]


def _found(name: str, check: Check, settings: Settings) -> Finding:
    try:
        return Finding(name, True, check(settings))
    except Exception as error:  # whatever it is, it is what a person needs to know
        return Finding(name, False, str(error) or repr(error))


def _names(settings: Settings) -> list[str]:
    return [settings.topic(ENGAGEMENTS), settings.topic(UPLOADS)]


def _configs(settings: Settings, name: str) -> dict[str, Any]:
    from kafka.admin import ConfigResource, ConfigResourceType

    full = settings.topic(name)
    with admin_client(settings) as admin:
        told = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, full)])
    return {key: each["value"] if isinstance(each, dict) else each for key, each in told["topic"][full].items()}


def _wrongly_cleaned(settings: Settings, spec: TopicSpec) -> str:
    configs = _configs(settings, spec.name)
    for key in ("cleanup.policy", "min.compaction.lag.ms"):
        wanted, held = spec.configs.get(key), configs.get(key)
        too_short = key == "min.compaction.lag.ms" and int(held or 0) < int(wanted or 0)
        if too_short or (key == "cleanup.policy" and held != wanted):
            return f"{settings.topic(spec.name)} has {key} {held}, not {wanted}"
    return ""


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _holder(path: Path) -> str:
    """Who holds a lock; empty if nobody does. Trying it for a moment is all that can be done to find out."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            pid = file.read(300).split(" ")[0].strip()
            return f"{path.stem} is held by pid {pid}" if pid else f"{path.stem} is held"
    return ""
