"""Conformance scenarios on the wire: records, offsets, metadata, topics and groups, and every way to be wrong."""

from __future__ import annotations

import struct
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stream.broker.protocol import APIS
from tests.stream.broker.batches import batch, rows
from tests.stream.broker.kafka_wire import Wire, schema
from tests.stream.broker.scenarios import create_topic, eventually, unique

GOOD = batch([(b"k", b"v")])


def _produce(
    wire: Wire, topic: str, data: bytes, partition: int = 0, acks: int = -1, version: int = 8
) -> tuple[int, int]:
    """Error code and base offset."""
    asked = [{"name": topic, "partition_data": [{"index": partition, "records": data}]}]
    answer = wire.ask("Produce", version, acks=acks, timeout_ms=5_000, topic_data=asked)
    found = answer.responses[0].partition_responses[0]
    return found.error_code, found.base_offset


def _fetch(wire: Wire, topic: str, offset: int, version: int = 11, **limits: int) -> Any:
    part = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": limits.pop("partition_max_bytes", 1 << 20)}
    given = {"replica_id": -1, "max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20, "session_epoch": -1} | limits
    answer = wire.ask("Fetch", version, topics=[{"topic": topic, "partitions": [part]}], **given)
    return answer.responses[0].partitions[0]


def _offset_at(wire: Wire, topic: str, timestamp: int, partition: int = 0) -> tuple[int, int, int]:
    asked = [{"name": topic, "partitions": [{"partition_index": partition, "timestamp": timestamp}]}]
    found = wire.ask("ListOffsets", 4, replica_id=-1, topics=asked).topics[0].partitions[0]
    return found.error_code, found.offset, found.timestamp


def produce_right_and_wrong(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        topic, small = create_topic(wire, 2), create_topic(wire, max_message_bytes="200")
        compact = create_topic(wire, cleanup_policy="compact")
        return {
            "first": _produce(wire, topic, GOOD),
            "next": _produce(wire, topic, batch([(None, None), (b"", b"")])),
            "one acknowledgement": _produce(wire, topic, GOOD, acks=1),
            "impossible acks": _produce(wire, topic, GOOD, acks=5),
            "unknown topic": _produce(wire, unique("none"), GOOD),
            "unknown partition": _produce(wire, topic, GOOD, partition=2),
            "broken checksum": _produce(wire, topic, GOOD[:-1] + b"?"),
            "two batches": _produce(wire, topic, GOOD + GOOD),
            "too large": _produce(wire, small, batch([(b"k", b"v" * 300)])),
            "compact without key": _produce(wire, compact, batch([(None, b"v")])),
            "compact with key": _produce(wire, compact, GOOD),
        }


def _producer_id(wire: Wire) -> int:
    while True:  # real Kafka has none to give in its first moments
        answer = wire.ask("InitProducerId", 1, transactional_id=None, transaction_timeout_ms=60_000)
        if answer.error_code == 0:
            return int(answer.producer_id)
        time.sleep(0.05)


def idempotent_producers(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        topic = create_topic(wire)
        producer_id, other_id = _producer_id(wire), _producer_id(wire)

        def send(sequence: int, epoch: int = 0, count: int = 2) -> tuple[int, int]:
            numbered = [(b"k", b"%d" % (sequence + number)) for number in range(count)]
            return _produce(wire, topic, batch(numbered, producer=(producer_id, epoch, sequence)))

        answers = [send(0), send(0), send(2), send(2), send(0), send(6), send(4, count=1), send(4, count=1)]
        answers += [send(sequence) for sequence in range(5, 17, 2)]
        answers += [
            send(0),
            send(4, count=1),
            send(15),
            send(11),
        ]  # forgotten, forgotten, the last, one of the last five
        answers += [send(3, epoch=1), send(0, epoch=1), send(0, epoch=1), send(17), send(2, epoch=1)]
        return answers, producer_id != other_id, _offset_at(wire, topic, -1)


def fetch_right_and_wrong(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        topic = create_topic(wire)
        empty = _fetch(wire, topic, 0)
        for number in range(5):
            _produce(wire, topic, batch([(b"k", b"%d" % number * 50), (b"l", None)], 1_000 * number, gzip=number == 3))
        found = {"empty": (empty.error_code, empty.high_watermark, bytes(empty.records or b""))}
        for name, offset, limits in (
            ("all", 0, {}),
            ("inside a batch", 5, {}),
            ("the end", 10, {}),
            ("beyond the end", 11, {}),
            ("negative", -5, {}),
            ("one byte", 2, {"partition_max_bytes": 1}),
            ("a little", 0, {"max_bytes": 250}),
        ):
            part = _fetch(wire, topic, offset, **limits)
            records = [row for row in rows(bytes(part.records or b"")) if row.offset >= offset]
            found[name] = (part.error_code, part.high_watermark, records)
        unknown = _fetch(wire, unique("none"), 0)
        return found, unknown.error_code


def fetch_waits_for_data(bootstrap: str) -> Any:
    with Wire(bootstrap) as reader, Wire(bootstrap) as writer, ThreadPoolExecutor(1) as pool:
        topic = create_topic(writer)
        began = time.monotonic()
        nothing = _fetch(reader, topic, 0, max_wait_ms=300)
        waited_s = time.monotonic() - began
        waiting = pool.submit(_fetch, reader, topic, 0, max_wait_ms=10_000)
        time.sleep(0.2)
        began = time.monotonic()
        _produce(writer, topic, GOOD)
        woken = waiting.result()
        woken_s = time.monotonic() - began
        waiting = pool.submit(_fetch, reader, topic, 1, max_wait_ms=500, min_bytes=100_000)
        _produce(writer, topic, GOOD)
        too_little = waiting.result()
        return (
            [len(rows(bytes(part.records or b""))) for part in (nothing, woken, too_little)],
            0.25 < waited_s < 5.0,
            woken_s < 3.0,
        )


def offsets_by_time(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        topic = create_topic(wire, 2)
        for timestamp_ms in (1_000, 3_000, 2_000, 9_000, 5_000):  # a late batch among them
            _produce(wire, topic, batch([(b"k", b"v")] * 3, timestamp_ms, gzip=timestamp_ms == 9_000))
        times = (-2, -1, 0, 1_000, 1_001, 1_003, 2_001, 3_002, 3_003, 4_999, 9_001, 9_002, 9_003)
        found = [_offset_at(wire, topic, timestamp_ms) for timestamp_ms in times]
        empty = [_offset_at(wire, topic, timestamp_ms, partition=1) for timestamp_ms in (-2, -1, 5)]
        return found, empty, _offset_at(wire, unique("none"), -1), _offset_at(wire, topic, -1, partition=7)


def broker_time(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        topic = create_topic(wire, message_timestamp_type="LogAppendTime")
        asked = [{"name": topic, "partition_data": [{"index": 0, "records": batch([(b"k", b"v")] * 2, 77)}]}]
        stamped = wire.ask("Produce", 8, acks=-1, timeout_ms=5_000, topic_data=asked)
        part = stamped.responses[0].partition_responses[0]
        found = rows(bytes(_fetch(wire, topic, 0).records))
        age_ms = time.time() * 1000 - part.log_append_time_ms
        same = {row.timestamp_ms for row in found} == {part.log_append_time_ms}
        return part.error_code, same, 0 <= age_ms < 10_000, _offset_at(wire, topic, 100)[1]


def metadata_of_known_and_unknown_topics(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        topic, answers = create_topic(wire, 3), []
        for version in range(4, 13):
            for auto in (False, True):
                names = [{"name": name} for name in (topic, unique("none"), "not/a name", "..")]
                answer = wire.ask("Metadata", version, topics=names, allow_auto_topic_creation=auto)
                told = {found.name: found for found in answer.topics}
                answers.append([(told[name["name"]].error_code, _layout(told[name["name"]])) for name in names])
            answers.append((len(answer.brokers), answer.controller_id == answer.brokers[0].node_id))
            everything = wire.ask("Metadata", version, topics=None, allow_auto_topic_creation=False)
            answers.append(topic in [found.name for found in everything.topics])
            answers.append(wire.ask("Metadata", version, topics=[], allow_auto_topic_creation=False).topics)
        return answers


def topic_ids(bootstrap: str) -> Any:
    """A topic keeps its id, is found by it, and gets another when it is made anew under the same name."""
    with Wire(bootstrap) as wire:
        topic = create_topic(wire, 2)

        def described(version: int = 12, **asked: Any) -> Any:
            return wire.ask("Metadata", version, topics=[asked], allow_auto_topic_creation=False).topics[0]

        ids = [described(version, name=topic).topic_id for version in (10, 11, 12)]
        found, nobody = described(name=None, topic_id=ids[0]), described(name=None, topic_id=uuid.UUID(int=7 << 90))
        wire.ask("DeleteTopics", 3, topic_names=[topic], timeout_ms=10_000)
        eventually(lambda: described(name=topic).error_code, bool)
        wire.ask("CreateTopics", 4, topics=[{"name": topic, "num_partitions": 1, "replication_factor": 1}])
        anew = eventually(lambda: described(name=topic), lambda answer: answer.error_code == 0)
        return {
            "one id": len(set(ids)) == 1 and ids[0].int != 0,
            "by id": (found.error_code, found.name == topic, len(found.partitions)),
            "unknown id": (nobody.error_code, nobody.name, nobody.topic_id.int == 7 << 90),
            "another when made anew": anew.topic_id != ids[0],
            "the old id": described(name=None, topic_id=ids[0]).error_code,
        }


def _layout(topic: Any) -> list[Any]:
    parts = sorted(topic.partitions, key=lambda part: part.partition_index)
    return [(part.partition_index, part.leader_id, list(part.replica_nodes), list(part.isr_nodes)) for part in parts]


def topics_made_changed_and_deleted(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        name = unique("made")

        def make(topic: str, partitions: int = 2, replicas: int = 1, dry: bool = False, **configs: str) -> int:
            asked: dict[str, Any] = {"name": topic, "num_partitions": partitions, "replication_factor": replicas}
            asked["configs"] = [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()]
            answer = wire.ask("CreateTopics", 4, topics=[asked], timeout_ms=10_000, validate_only=dry)
            return int(answer.topics[0].error_code)

        def grow(topic: str, count: int) -> int:
            asked = [{"name": topic, "count": count, "assignments": None}]
            return int(wire.ask("CreatePartitions", 1, topics=asked, timeout_ms=10_000).results[0].error_code)

        def drop(topic: str) -> int:
            return int(wire.ask("DeleteTopics", 3, topic_names=[topic], timeout_ms=10_000).responses[0].error_code)

        codes = {
            "dry": make(name, dry=True),
            "made": make(name),
            "again": make(name),
            "dry again": make(name, dry=True),
            "bad name": make("no spaces"),
            "no partitions": make(unique("x"), 0),
            "default partitions": make(unique("x"), -1, -1),
            "too many replicas": make(unique("x"), replicas=3),
            "unknown config": make(unique("x"), no_such_thing="1"),
            "bad number": make(unique("x"), retention_ms="soon"),
            "bad policy": make(unique("x"), cleanup_policy="shred"),
            "good configs": make(
                unique("x"), cleanup_policy="compact,delete", retention_ms="-1", compression_type="zstd"
            ),
            "grown": grow(name, 3),
            "not grown": grow(name, 3),
            "shrunk": grow(name, 1),
            "grown unknown": grow(unique("none"), 3),
        }

        def described() -> tuple[int, int]:
            found = wire.ask("Metadata", 8, topics=[{"name": name}]).topics[0]
            return found.error_code, len(found.partitions)

        grown = eventually(described, lambda found: found == (0, 3))
        codes |= {"dropped": drop(name), "dropped again": drop(name)}
        return codes, grown, eventually(described, lambda found: found[0] != 0)


def configs_described_and_altered(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        topic = create_topic(wire, retention_ms="5000", cleanup_policy="compact")
        watched = [
            "retention.ms",
            "cleanup.policy",
            "max.message.bytes",
            "min.insync.replicas",
            "message.timestamp.type",
        ]

        def settings(name: str, keys: list[str] | None = None) -> Any:
            resource = {"resource_type": 2, "resource_name": name, "configuration_keys": keys or watched}
            result = wire.ask("DescribeConfigs", 2, resources=[resource]).results[0]
            own = 1  # config source: set on the topic
            return result.error_code, sorted((c.name, c.value, c.config_source == own) for c in result.configs)

        def alter(name: str, *changes: tuple[str, int, str | None], kind: int = 2) -> int:
            configs = [{"name": key, "config_operation": what, "value": value} for key, what, value in changes]
            resource = {"resource_type": kind, "resource_name": name, "configs": configs}
            return int(wire.ask("IncrementalAlterConfigs", 0, resources=[resource]).responses[0].error_code)

        before = settings(topic)
        codes = [
            alter(topic, ("retention.ms", 0, "9000"), ("cleanup.policy", 2, "delete")),
            alter(topic, ("retention.ms", 0, "never")),
            alter(topic, ("no.such", 0, "1")),
            alter(unique("none"), ("retention.ms", 0, "1")),
        ]
        changed = eventually(lambda: settings(topic), lambda found: found != before)
        codes.append(alter(topic, ("retention.ms", 1, None), ("cleanup.policy", 3, "compact")))
        replace = {"resource_type": 2, "resource_name": topic, "configs": [{"name": "retention.ms", "value": "7000"}]}
        reduced = eventually(lambda: settings(topic), lambda found: found != changed)
        codes.append(wire.ask("AlterConfigs", 1, resources=[replace]).responses[0].error_code)
        replaced = eventually(lambda: settings(topic), lambda found: found != reduced)
        return before, codes, changed, reduced, replaced, settings(unique("none"))


def records_deleted(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        topic = create_topic(wire)
        for _ in range(4):
            _produce(wire, topic, GOOD)

        def delete(offset: int, partition: int = 0) -> tuple[int, int]:
            asked = [{"name": topic, "partitions": [{"partition_index": partition, "offset": offset}]}]
            found = wire.ask("DeleteRecords", 1, topics=asked, timeout_ms=5_000).topics[0].partitions[0]
            return found.error_code, found.low_watermark

        answers = [delete(2), delete(1), delete(9), delete(0, partition=3)]
        below = _fetch(wire, topic, 1).error_code
        start = _offset_at(wire, topic, -2)
        return answers, below, start, delete(-1), _offset_at(wire, topic, -2)


def versions_spoken(bootstrap: str) -> Any:
    """Every version that both speak is answered so that the schema can read it; too new a question gets a way back."""
    with Wire(bootstrap) as wire:
        old = wire.ask("ApiVersions", 0)
        theirs = {key.api_key: (key.min_version, key.max_version) for key in old.api_keys}
        both = {
            (APIS[key].name, version)
            for key in APIS
            for version in range(APIS[key].oldest, APIS[key].newest + 1)
            if key in theirs and theirs[key][0] <= version <= theirs[key][1]
        }
        with Wire(bootstrap) as other:
            other.send_bytes(struct.pack(">ihhihsb3sb", 16, 18, 99, 7, 1, b"x", 0, b"\x02x\x02", 0))
            frame = other.receive_bytes()
            fallback = struct.unpack_from(">ih", frame)
            usable = schema("ApiVersionsResponse").decode(frame[4:], version=0)
            again = other.ask("ApiVersions", 3, client_software_name="wire", client_software_version="1")
        with Wire(bootstrap) as other:
            other.send_bytes(struct.pack(">ihhihs", 11, 3, 99, 7, 1, b"x"))
            closed = other.receive_bytes()
        harmless = {
            "Heartbeat",
            "DescribeGroups",
            "ListGroups",
            "OffsetFetch",
            "DeleteGroups",
            "LeaveGroup",
            "Metadata",
        }
        harmless |= {"FindCoordinator", "CreateTopics", "CreatePartitions", "DescribeConfigs", "OffsetCommit"}
        answered = sum(1 for name, version in sorted(both) if name in harmless and wire.ask(name, version) is not None)
        return fallback, [key.api_key for key in usable.api_keys], again.error_code, closed, answered > 40


# Groups


def _join(wire: Wire, group: str, member_id: str = "", version: int = 5, **given: Any) -> Any:
    asked = {"session_timeout_ms": 6_000, "rebalance_timeout_ms": 5_000, "protocol_type": "consumer"}
    asked |= {"protocols": [{"name": "range", "metadata": b"wants"}]} | given
    return wire.ask("JoinGroup", version, group_id=group, member_id=member_id, **asked)


def _enter(wire: Wire, group: str, **given: Any) -> Any:
    """Joins as a new client does: first for an id, then with it."""
    first = _join(wire, group, **given)
    return _join(wire, group, first.member_id, **given) if first.error_code == 79 else first


def _sync(
    wire: Wire, group: str, joined: Any, given: dict[str, bytes] | None = None, **changed: Any
) -> tuple[int, bytes]:
    asked = {"group_id": group, "generation_id": joined.generation_id, "member_id": joined.member_id} | changed
    assignments = [{"member_id": member, "assignment": part} for member, part in (given or {}).items()]
    answer = wire.ask("SyncGroup", 3, assignments=assignments, **asked)
    return answer.error_code, bytes(answer.assignment)


def _beat(wire: Wire, group: str, generation: int, member_id: str, **given: Any) -> int:
    asked = {"group_id": group, "generation_id": generation, "member_id": member_id} | given
    return int(wire.ask("Heartbeat", 3, **asked).error_code)


def _commit(
    wire: Wire, group: str, topic: str, offset: int, generation: int = -1, member: str = "", **given: Any
) -> int:
    part = {"partition_index": given.pop("partition", 0), "committed_offset": offset} | given
    asked = {"group_id": group, "generation_id_or_member_epoch": generation, "member_id": member}
    answer = wire.ask("OffsetCommit", 7, topics=[{"name": topic, "partitions": [part]}], **asked)
    return int(answer.topics[0].partitions[0].error_code)


def _committed(wire: Wire, group: str, topic: str | None, partitions: tuple[int, ...] = (0, 1)) -> Any:
    asked = None if topic is None else [{"name": topic, "partition_indexes": list(partitions)}]
    answer = wire.ask("OffsetFetch", 5, group_id=group, topics=asked)
    return answer.error_code, [
        (part.partition_index, part.committed_offset, part.metadata, part.error_code)
        for found in answer.topics
        for part in sorted(found.partitions, key=lambda part: part.partition_index)
    ]


def _leave(wire: Wire, group: str, member_id: str, instance_id: str | None = None) -> tuple[int, list[int]]:
    members = [{"member_id": member_id, "group_instance_id": instance_id}]
    answer = wire.ask("LeaveGroup", 3, group_id=group, members=members)
    return answer.error_code, [member.error_code for member in answer.members]


def _coordinator(wire: Wire) -> None:
    """Real Kafka makes its offsets topic when it is first asked for a coordinator."""
    end = time.monotonic() + 20
    while (
        wire.ask("FindCoordinator", 2, key=unique("g"), key_type=0).error_code or _beat(wire, unique("g"), 1, "m") != 25
    ):
        assert time.monotonic() < end, "no coordinator"
        time.sleep(0.05)


def group_calls_gone_wrong(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        _coordinator(wire)
        topic, group = create_topic(wire, 2), unique("group")
        codes = {
            "beat of nobody": _beat(wire, group, 1, "m"),
            "join without a group": _join(wire, "").error_code,
            "short session": _join(wire, group, session_timeout_ms=0).error_code,
            "long session": _join(wire, group, session_timeout_ms=1_800_001).error_code,
            "unknown member": _join(wire, group, "stranger").error_code,
            "no protocols": _join(wire, group, protocols=[]).error_code,
            "asks for an id": _join(wire, group).error_code,
            "leave of nobody": _leave(wire, group, "m"),
            "commit without members": _commit(wire, group, topic, 5),
            "commit with a generation": _commit(wire, group, topic, 5, generation=3, member="m"),
            "commit unknown topic": _commit(wire, group, unique("none"), 5),
            "commit unknown partition": _commit(wire, group, topic, 5, partition=9),
            "commit long note": _commit(wire, group, topic, 5, committed_metadata="x" * 5_000),
            "delete unknown": [g.error_code for g in wire.ask("DeleteGroups", 1, groups_names=[unique("g")]).results],
        }
        member = _enter(wire, group)
        codes |= {
            "sync too early a generation": _sync(wire, group, member, generation_id=0)[0],
            "sync of a stranger": _sync(wire, group, member, member_id="m")[0],
            "sync": _sync(wire, group, member, {member.member_id: b"mine"}),
            "sync again": _sync(wire, group, member),
            "beat": _beat(wire, group, member.generation_id, member.member_id),
            "old beat": _beat(wire, group, member.generation_id - 1, member.member_id),
            "commit": _commit(wire, group, topic, 7, member.generation_id, member.member_id, committed_metadata="note"),
            "old commit": _commit(wire, group, topic, 8, member.generation_id - 1, member.member_id),
            "commit from outside": _commit(wire, group, topic, 8),
            "other protocol type": _join(wire, group, protocol_type="connect").error_code,
            "other protocols": _join(wire, group, protocols=[{"name": "other", "metadata": b""}]).error_code,
            "delete with members": [g.error_code for g in wire.ask("DeleteGroups", 1, groups_names=[group]).results],
            "committed": _committed(wire, group, topic),
            "all committed": _committed(wire, group, None),
            "nothing committed": _committed(wire, unique("g"), topic),
            "left": _leave(wire, group, member.member_id),
            "beat after leaving": _beat(wire, group, member.generation_id, member.member_id),
        }
        return codes


def group_through_its_life(bootstrap: str) -> Any:
    with Wire(bootstrap) as one, Wire(bootstrap) as two, ThreadPoolExecutor(2) as pool:
        _coordinator(one)
        group, told = unique("group"), []
        a = _enter(one, group)
        told.append((a.generation_id, a.protocol_name, a.leader == a.member_id, [bytes(m.metadata) for m in a.members]))
        told.append(_sync(one, group, a, {a.member_id: b"all"}))
        entering = pool.submit(_enter, two, group)
        end = time.monotonic() + 5
        while (beat := _beat(one, group, a.generation_id, a.member_id)) == 0 and time.monotonic() < end:
            time.sleep(0.02)
        told.append(beat)
        a = _join(one, group, a.member_id)
        b = entering.result()
        told.append(
            (a.generation_id == b.generation_id, a.leader == b.leader == a.member_id, len(a.members), len(b.members))
        )
        waiting = pool.submit(_sync, two, group, b)
        told.append(_sync(one, group, a, {a.member_id: b"left", b.member_id: b"right"}))
        told.append(waiting.result())
        told.append(_described(one, group))
        again = _join(two, group, b.member_id)  # a follower that asks again disturbs nobody
        told.append((again.error_code, again.generation_id - b.generation_id, len(again.members)))
        told.append(_leave(two, group, b.member_id))
        told.append(_beat(one, group, a.generation_id, a.member_id))
        a = _join(one, group, a.member_id)
        told.append((a.error_code, len(a.members), _leave(one, group, a.member_id)))
        told.append(_described(one, group))
        listed = {g.group_id: g.group_state for g in one.ask("ListGroups", 4, states_filter=[]).groups}
        told.append(listed.get(group))
        told.append([g.error_code for g in one.ask("DeleteGroups", 1, groups_names=[group]).results])
        told.append(_described(one, group))
        return told


def _described(wire: Wire, group: str) -> Any:
    found = wire.ask("DescribeGroups", 4, groups=[group]).groups[0]
    members = sorted((bytes(m.member_metadata), bytes(m.member_assignment), m.client_id) for m in found.members)
    return found.error_code, found.group_state, found.protocol_type, found.protocol_data, members


def silent_members_are_evicted(bootstrap: str) -> Any:
    with Wire(bootstrap) as one, Wire(bootstrap) as two, ThreadPoolExecutor(1) as pool:
        _coordinator(one)
        group = unique("group")
        a = _enter(one, group, session_timeout_ms=1_500, rebalance_timeout_ms=20_000)
        _sync(one, group, a, {a.member_id: b"all"})
        began = time.monotonic()
        b = pool.submit(_enter, two, group, session_timeout_ms=1_500, rebalance_timeout_ms=20_000).result()
        waited_s = time.monotonic() - began  # nobody answers for the first member
        stale = _beat(one, group, a.generation_id, a.member_id)
        return 0.5 < waited_s < 8.0, b.leader == b.member_id, len(b.members), stale


def late_members_are_left_behind(bootstrap: str) -> Any:
    """A member that beats but does not join again holds the others up for the rebalance timeout, no longer."""
    with Wire(bootstrap) as one, Wire(bootstrap) as two, ThreadPoolExecutor(1) as pool:
        _coordinator(one)
        group = unique("group")
        a = _enter(one, group, session_timeout_ms=20_000, rebalance_timeout_ms=1_000)
        _sync(one, group, a, {a.member_id: b"all"})
        entering = pool.submit(_enter, two, group, session_timeout_ms=20_000, rebalance_timeout_ms=1_000)
        began = time.monotonic()
        while not entering.done():
            _beat(one, group, a.generation_id, a.member_id)
            time.sleep(0.05)
        b = entering.result()
        return time.monotonic() - began < 8.0, len(b.members), _beat(one, group, a.generation_id, a.member_id)


def static_members_come_back(bootstrap: str) -> Any:
    with Wire(bootstrap) as one, Wire(bootstrap) as two:
        _coordinator(one)
        group = unique("group")
        a = _enter(one, group, group_instance_id="shop-1")
        told: list[Any] = [_sync(one, group, a, {a.member_id: b"mine"}, group_instance_id="shop-1")]
        back = _enter(two, group, group_instance_id="shop-1")
        told.append(
            (back.error_code, back.generation_id - a.generation_id, back.member_id != a.member_id, len(back.members))
        )
        told.append(_sync(two, group, back, group_instance_id="shop-1"))
        told.append(_beat(two, group, back.generation_id, back.member_id, group_instance_id="shop-1"))
        told.append(_beat(one, group, a.generation_id, a.member_id, group_instance_id="shop-1"))  # fenced
        told.append(_join(one, group, a.member_id, group_instance_id="shop-1").error_code)
        told.append(_leave(one, group, "", "shop-1"))
        told.append(_beat(two, group, back.generation_id, back.member_id, group_instance_id="shop-1"))
        return told


def committed_offsets_deleted(bootstrap: str) -> Any:
    with Wire(bootstrap) as wire:
        _coordinator(wire)
        topic, group = create_topic(wire, 2), unique("group")
        for partition in (0, 1):
            _commit(wire, group, topic, 5, partition=partition)
        asked = [{"name": topic, "partitions": [{"partition_index": 0}]}]
        answer = wire.ask("OffsetDelete", 0, group_id=group, topics=asked)
        after = _committed(wire, group, topic)
        deleted = [g.error_code for g in wire.ask("DeleteGroups", 1, groups_names=[group]).results]
        return answer.error_code, after, deleted, _committed(wire, group, topic)
