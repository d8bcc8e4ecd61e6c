"""Topics: what the log is made of (docs/contracts.md), and how it comes to exist on a broker.

Invariant: the topics whose keys meet (an item's, a user's) have equal partition counts, so that one worker owns a key
in all of them. `create_topics` may be called any number of times; of a topic that exists it changes only whose time its
records bear (see `stream.kafka.broker_time`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from store.security import security_of
from store.settings import Settings
from store.topics import (
    CHECKPOINTS,
    DEAD_LETTERS,
    ENGAGEMENTS,
    FORGOTTEN_USERS,
    ITEM_SIGNALS,
    ITEM_STATES,
    PROFILES,
    RANKING_EXAMPLES,
    RECOMMEND_REQUESTS,
    RECOMMENDATIONS,
    SEMANTIC_IDS,
    UPLOAD_STATES,
    UPLOADS,
    USER_STATES,
)
from stream.kafka.broker_time import BROKER_TIME, BY_BROKER, BY_SENDER, TIMESTAMPS, time_by_broker, timestamps_of
from stream.kafka.connections import (
    LARGEST_RECORD_BYTES,
    BrokerRefusedError,
    BrokerUnavailableError,
    admin_client,
    reaching,
)

COMPACT: Mapping[str, str] = {"cleanup.policy": "compact"}
BY_TIME: Mapping[str, str] = {"cleanup.policy": "delete"}
FOR_EVER: Mapping[str, str] = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
STATE: Mapping[str, str] = {**COMPACT, "min.compaction.lag.ms": str(10 * 60_000)}
"""A worker that has lost a partition may still write an older row over a newer one: so long the newer one stays there
for the partition's owner to write it again (`stream.ingest.protocol.published_rows`)."""
LARGE: Mapping[str, str] = {"max.message.bytes": str(LARGEST_RECORD_BYTES)}


SETTLE_S = 10.0
_NO_ID = "00000000-0000-0000-0000-000000000000"


class TopicsError(RuntimeError):
    """The topics on the broker do not fit the settings: do what the message says, then start again."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic of the design. `partitions` None: as many as the settings say."""

    name: str
    key: str
    configs: Mapping[str, str] = field(default_factory=dict)
    partitions: int | None = None
    co_partitioned: bool = False


TOPICS: tuple[TopicSpec, ...] = (
    # Inputs take records beyond `kafka.max_record_bytes`, so that one too large is refused by name in `dead-letters`
    # rather than by each producer in its own words.
    TopicSpec(UPLOADS, "item", {**COMPACT, **LARGE, **BROKER_TIME}, co_partitioned=True),
    TopicSpec(ENGAGEMENTS, "user", {**BY_TIME, **LARGE, **BROKER_TIME}, co_partitioned=True),
    TopicSpec(PROFILES, "user", {**COMPACT, **LARGE, **BROKER_TIME}, co_partitioned=True),
    TopicSpec(ITEM_SIGNALS, "item", {**BY_TIME, **LARGE, **BROKER_TIME}, co_partitioned=True),
    TopicSpec(SEMANTIC_IDS, "item", COMPACT, co_partitioned=True),
    TopicSpec(UPLOAD_STATES, "item", {**STATE, **LARGE}, co_partitioned=True),
    TopicSpec(ITEM_STATES, "item", {**STATE, **LARGE}, co_partitioned=True),
    TopicSpec(USER_STATES, "user", {**STATE, **LARGE}, co_partitioned=True),
    TopicSpec(FORGOTTEN_USERS, "user", COMPACT, co_partitioned=True),
    TopicSpec(CHECKPOINTS, "model", FOR_EVER, partitions=1),
    TopicSpec(RANKING_EXAMPLES, "user", {**BY_TIME, **BROKER_TIME}),
    TopicSpec(RECOMMEND_REQUESTS, "user", {**BY_TIME, **BROKER_TIME}),
    TopicSpec(RECOMMENDATIONS, "user", {**BY_TIME, **BROKER_TIME}),
    TopicSpec(DEAD_LETTERS, "source", {**BY_TIME, **LARGE, **BROKER_TIME}),
)


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is on the broker: `partitions` 0 when it does not exist. `created`: by this call. `topic_id`: empty
    where the broker gives none. `sender_timed`: its records bear their senders' times, and should bear the broker's."""

    name: str
    full_name: str
    key: str
    cleanup: str
    partitions: int
    replication: int
    created: bool = False
    topic_id: str = ""
    co_partitioned: bool = False
    sender_timed: bool = False


def create_topics(settings: Settings) -> list[TopicState]:
    """Creates the missing topics, checks the others, and returns them all.

    Raises `TopicsError` when existing ones cannot work together, `BrokerUnavailableError` when no broker answers.
    """
    with admin_client(settings) as admin:
        missing = [topic for topic, state in zip(TOPICS, _states(admin, settings), strict=True) if not state.partitions]
        if missing:
            _create(admin, settings, missing)
        created = {topic.name for topic in missing}
        _time_by_broker(admin, settings)
        states = _states(admin, settings, created)
    check_topics(states, settings)
    return states


def describe_topics(settings: Settings) -> list[TopicState]:
    """Every topic of the design as the broker has it now."""
    with admin_client(settings) as admin:
        return _states(admin, settings)


def check_topics(states: list[TopicState], settings: Settings) -> None:
    """Raises `TopicsError` if a topic is missing or keys would lie in different partitions of different topics."""
    missing = [state.full_name for state in states if not state.partitions]
    if missing:
        user = security_of(settings.kafka).username
        unseen = f", or give user {user!r} access to them (docs/security.md)" if user else ""
        raise TopicsError(f"topics are missing ({', '.join(missing)}): run `sidestream topics create`{unseen}")
    together = {topic.name for topic in TOPICS if topic.co_partitioned}
    counts = {state.full_name: state.partitions for state in states if state.name in together}
    if len(set(counts.values())) > 1:
        held = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise TopicsError(
            f"topics that share keys have different partition counts ({held}): delete and create those that differ, "
            f"or choose another kafka.topic_prefix than {settings.kafka.topic_prefix!r}"
        )
    single = next(state for state in states if state.name == CHECKPOINTS)
    if single.partitions != 1:
        raise TopicsError(
            f"{single.full_name} has {single.partitions} partitions, and order matters across all of its records: "
            "delete it and run `sidestream topics create`"
        )
    sender_timed = [state.full_name for state in states if state.sender_timed]
    if sender_timed:
        raise TopicsError(
            f"records of {', '.join(sender_timed)} bear the times that their senders set, which would decide what is "
            f"kept and what is plausible: run `sidestream topics create`, or set {TIMESTAMPS}={BY_BROKER} on them"
        )


def kept_counts(states: list[TopicState], settings: Settings) -> str:
    """What a person should know when topics have other partition counts than the settings say; empty when none has."""
    wanted = settings.kafka.partitions
    held = [f"{state.full_name} {state.partitions}" for state in states if _is_other(state, wanted)]
    if not held:
        return ""
    return (
        f"kafka.partitions is {wanted}, and these topics keep the count that they were created with "
        f"({', '.join(held)}): it cannot be changed, workers follow it; another kafka.topic_prefix starts anew"
    )


def _is_other(state: TopicState, wanted: int) -> bool:
    return state.name != CHECKPOINTS and state.partitions not in (0, wanted)


def _time_by_broker(admin: KafkaAdminClient, settings: Settings) -> None:
    names = [state.full_name for state in _states(admin, settings) if state.sender_timed]
    try:
        time_by_broker(admin, names)
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end and BY_SENDER in timestamps_of(admin, names).values():
            time.sleep(0.05)  # brokers hear of it from their controller
    except KafkaError as error:
        raise TopicsError(
            f"{', '.join(names)}: {TIMESTAMPS} must be {BY_BROKER}, and could not be set from here ({error}): set it"
        ) from error


def id_of(described: Mapping[str, Any]) -> str:
    """The id of a topic as the admin client describes it; empty where the broker (before 2.8) gives none."""
    found = str(described.get("topic_id") or "")
    return "" if found == _NO_ID else found


def _create(admin: KafkaAdminClient, settings: Settings, topics: list[TopicSpec]) -> None:
    wanted = {
        settings.topic(topic.name): {
            "num_partitions": topic.partitions or settings.kafka.partitions,
            "replication_factor": settings.kafka.replication,
            "configs": dict(topic.configs),
        }
        for topic in topics
    }
    answer = admin.create_topics(wanted, raise_errors=False)
    for result in answer["topics"]:
        error = for_code(result["error_code"])
        if result["error_code"] and error is not TopicAlreadyExistsError:
            detail = result.get("error_message") or error.description
            raise TopicsError(f"the broker did not create {result['name']}: {detail} ({error.__name__})")
    admin.wait_for_topics(list(wanted))


def _states(admin: KafkaAdminClient, settings: Settings, created: set[str] | None = None) -> list[TopicState]:
    names = {settings.topic(topic.name): topic for topic in TOPICS}
    # Only names that exist are described: asking for a missing one makes some brokers create it.
    there = [name for name in admin.list_topics() if name in names]
    found = {entry["name"]: entry for entry in admin.describe_topics(there)} if there else {}
    times = timestamps_of(admin, [name for name in there if TIMESTAMPS in names[name].configs])
    by_sender = {name for name, said in times.items() if said != BY_BROKER}
    return [
        _state(topic, full, found.get(full) or {}, created or set(), full in by_sender) for full, topic in names.items()
    ]


def _state(
    topic: TopicSpec, full_name: str, found: Mapping[str, Any], created: set[str], sender_timed: bool
) -> TopicState:
    partitions: list[dict[str, list[int]]] = found.get("partitions") or []
    return TopicState(
        name=topic.name,
        full_name=full_name,
        key=topic.key,
        cleanup="compact" if topic.configs["cleanup.policy"] == "compact" else "delete",
        partitions=len(partitions),
        replication=len(partitions[0]["replica_nodes"]) if partitions else 0,
        created=topic.name in created,
        topic_id=id_of(found),
        co_partitioned=topic.co_partitioned,
        sender_timed=sender_timed,
    )


def partition_count(settings: Settings, topic: str, partitions_for: Callable[[str], set[int]]) -> int:
    """How many partitions `topic` has, as a connected client's `partitions_for` tells.

    Raises `TopicsError` when it does not exist, `BrokerUnavailableError`, and `BrokerRefusedError` without access.
    """
    full = settings.topic(topic)
    try:
        with reaching(settings):
            return len(partitions_for(full))
    except BrokerRefusedError:
        raise
    except BrokerUnavailableError:
        with admin_client(settings):  # raises again unless it is only the topic that is missing
            raise TopicsError(f"there is no topic {full}: run `sidestream topics create`") from None
