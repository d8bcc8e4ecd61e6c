"""Log identity: whether a position still belongs to the log that it was counted in.

A topic that is deleted and created again, restored from a copy, or cut by an unclean stop counts from a lower offset
again. What is new there would lie before the position, and be passed over as known. So a position remembers its topic's
id (brokers give one since Kafka 2.8; from older ones only the end of the log can be known), and is compared with the
broker's at every start and while a worker runs.

Invariant: nothing is read from a log that a position does not belong to, unless a person chose to (`kafka.start_over`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from msgspec import structs

from store.rows import LogIdentity, Position
from store.settings import Settings
from stream.kafka.connections import BrokerUnavailableError, admin_client
from stream.kafka.topics import id_of

log = logging.getLogger(__name__)

LOOKS = 3
"""How often a broker is asked before it counts as away."""
_UNFINISHED = "being published again"
"""Stands in the place of a state topic's id until every row is on it."""


class LogReplacedError(RuntimeError):
    """A log is not the one that was read before, or ends before what was read: the message says what to choose."""


@dataclass(frozen=True, slots=True)
class PartitionLog:
    """One partition as the broker has it at this moment: its topic's id ("" if the broker gives none) and how many
    partitions that has, its oldest offset, and the one after its newest."""

    topic: str
    partition: int
    topic_id: str
    partitions: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class ReadingStart:
    """Where reading begins: the broker's offset, and the log that offsets are counted in from now on."""

    offset: int
    identity: LogIdentity


async def look_at(settings: Settings, names: Iterable[str], partition: int) -> dict[str, PartitionLog]:
    """One partition of each of these topics (named without their prefix). A broker that seems not to answer is asked
    again: for a process that stood still in the middle of it, its time was over at once."""
    wanted = list(names)
    for _ in range(LOOKS - 1):
        try:
            return await asyncio.to_thread(_look, settings, wanted, partition)
        except (BrokerUnavailableError, KafkaError) as error:
            log.info("looking again at %s: %r", ", ".join(wanted), error)
            await asyncio.sleep(0.5)
    return await asyncio.to_thread(_look, settings, wanted, partition)


def _look(settings: Settings, names: list[str], partition: int) -> dict[str, PartitionLog]:
    full = {settings.topic(name): name for name in names}
    with admin_client(settings) as admin:
        described = {entry["name"]: entry for entry in admin.describe_topics(list(full))}
        places = [TopicPartition(topic, partition) for topic in full]
        begins = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
        ends = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
    return {
        full[at.topic]: PartitionLog(
            topic=at.topic,
            partition=partition,
            topic_id=id_of(described[at.topic]),
            partitions=len(described[at.topic]["partitions"]),
            begin=begins[at].offset,
            end=ends[at].offset,
        )
        for at in places
    }


def start_reading(
    seen: PartitionLog,
    known: LogIdentity | None,
    safe: int,
    reached: int,
    start_over: Literal["", "beginning", "end"],
) -> ReadingStart:
    """Where to read on. `safe`: the position, `reached`: the furthest that anything here remembers, both as counted
    (-1: nothing). Raises `LogReplacedError` if the log is not the one that they were counted in."""
    identity = known or LogIdentity(seen.topic_id)
    if identity.partitions not in (0, seen.partitions):
        raise LogReplacedError(moved_keys(seen.topic, seen.partitions, identity.partitions))
    reached = max(safe, reached)
    replaced = bool(identity.topic_id and seen.topic_id and identity.topic_id != seen.topic_id)
    if not replaced and (reached < 0 or identity.offset(reached + 1) <= seen.end):
        begin = identity.offset(safe + 1)
        _tell_of_gone(seen, begin if safe >= 0 else seen.begin)
        topic_id = seen.topic_id or identity.topic_id
        return ReadingStart(begin, structs.replace(identity, topic_id=topic_id, partitions=seen.partitions))
    if not start_over and known is None and seen.begin == seen.end:
        start_over = "end"  # a position of a release that kept no identity, and nothing that could be passed over
    if not start_over:
        raise LogReplacedError(_refusal(seen, identity.offset(reached + 1) - 1, replaced))
    since = seen.begin if start_over == "beginning" else seen.end
    cut_after_safe = start_over == "end" and not replaced  # then what is not safe yet is read again as it was
    begin = min(identity.offset(safe + 1), since) if cut_after_safe else since
    log.warning("%s-%s: starting over at %s (kafka.start_over)", seen.topic, seen.partition, begin)
    base = max(reached + 1 - since, identity.base + 1)
    return ReadingStart(begin, LogIdentity(seen.topic_id, base, since, identity.base, seen.partitions))


def _tell_of_gone(seen: PartitionLog, begin: int) -> None:
    if begin < seen.begin:
        log.error(
            "%s-%s: records %s to %s are gone before they were read: its retention is too short for so long a pause",
            *(seen.topic, seen.partition, begin, seen.begin - 1),
        )


def moved_keys(topic: str, partitions: int, wanted: int) -> str:
    """What to say of a topic that has other partitions than when its rows were made."""
    return (
        f"{topic} has {partitions} partitions, and rows lie where {wanted} put them: keys have moved. Partitions "
        "cannot be taken away, so choose: create topics under another kafka.topic_prefix and publish there; or give "
        f"all topics that share keys {partitions} partitions, stop all workers, delete user-states, item-states, "
        "upload-states, item-signals and semantic-ids and the data folders, run `sidestream topics create`, and start "
        "the workers with another kafka.group, so that they read from the beginning: all is built again from what the "
        "log still holds, and what lies in a wrong partition is moved"
    )


def _refusal(seen: PartitionLog, last: int, replaced: bool) -> str:
    what = "is another topic than" if replaced else "ends before what was read of"
    return (
        f"{seen.topic} partition {seen.partition} holds offsets {seen.begin} to {seen.end - 1} and {what} the one "
        f"that was read up to {last}. If it was created anew, start once with --start-over beginning "
        "(kafka.start_over): all that it holds is absorbed, beside what is known. If it was cut or restored from a "
        "copy, start once with --start-over end: what it holds is taken as known. If it is the wrong cluster, correct "
        "--bootstrap-servers"
    )


def is_lost(seen: PartitionLog, known: LogIdentity | None, end: int) -> bool:
    """Whether a topic is not the `known` one any more, or ends before `end`, where it once ended."""
    if known is not None and known.topic_id == _UNFINISHED:
        return True
    replaced = known is not None and known.topic_id and seen.topic_id and known.topic_id != seen.topic_id
    return bool(replaced) or seen.end < end


def forget_lost_states(position: Position, name: str, seen: PartitionLog) -> bool:
    """Whether the state topic `name` has lost what was published to it (it was created anew, or cut). Then it is read
    from its beginning, and every row is to be published again: until `has_all_states`, each start is told so."""
    lost = is_lost(seen, position.logs.get(name), position.state_offset)
    if lost:
        position.state_offset = 0
    position.logs[name] = LogIdentity(_UNFINISHED if lost else seen.topic_id, partitions=seen.partitions)
    return lost


def has_all_states(position: Position, name: str, seen: PartitionLog) -> None:
    """Notes that every row is on the state topic again."""
    position.logs[name] = LogIdentity(seen.topic_id, partitions=seen.partitions)


def further(one: Position, other: Position) -> dict[str, LogIdentity]:
    """For each log the identity that was chosen later: a log that was started over counts from a higher base."""
    known = [*one.logs.items(), *other.logs.items()]  # of equal ones the own
    return {name: max((log for its, log in known if its == name), key=_base) for name, _ in known}


def _base(identity: LogIdentity) -> int:
    return identity.base
