"""Access: what a process needs of each topic and of its group, asked of the broker before it starts.

A broker with ACLs refuses in the middle of work, in each client's own words. Since Kafka 2.3 it says what the asking
user may do, so what is missing is told at once, all of it.

Invariant: a broker without ACLs, or one that does not tell, refuses nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import GroupAuthorizationFailedError, KafkaError

from store.settings import RoleName, Settings
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
from stream.kafka.connections import admin_client, lacking

Needs = Mapping[str, tuple[str, ...]]
"""Topic → operations, by Kafka's names."""

READ, WRITE = ("READ",), ("WRITE",)
BOTH = READ + WRITE

WORKER: Needs = {
    # A worker publishes again, where it belongs, what it finds in another key's partition.
    **dict.fromkeys((UPLOADS, ENGAGEMENTS, PROFILES, ITEM_SIGNALS, SEMANTIC_IDS), BOTH),
    **dict.fromkeys((UPLOAD_STATES, ITEM_STATES, USER_STATES, FORGOTTEN_USERS, CHECKPOINTS), BOTH),
    RECOMMEND_REQUESTS: READ,
    **dict.fromkeys((RANKING_EXAMPLES, RECOMMENDATIONS, DEAD_LETTERS), WRITE),
}
_WATCHED = dict.fromkeys((UPLOADS, ENGAGEMENTS, PROFILES, ITEM_SIGNALS, RECOMMEND_REQUESTS), ("DESCRIBE",))
WORKERS: Mapping[RoleName, Needs] = {
    "all": WORKER,
    "ingest": {**WORKER, CHECKPOINTS: READ},
    # One that answers tells the lag of the others, publishes what people do on the page, and rolls checkpoints back.
    "serve": {
        **_WATCHED,
        **dict.fromkeys((SEMANTIC_IDS, ITEM_STATES, USER_STATES, FORGOTTEN_USERS), READ),
        CHECKPOINTS: BOTH,
        **dict.fromkeys((RANKING_EXAMPLES, ENGAGEMENTS), WRITE),
    },
}
"""By role."""
TRAINER: Needs = {
    **dict.fromkeys((ENGAGEMENTS, PROFILES, SEMANTIC_IDS, RANKING_EXAMPLES), READ),
    **dict.fromkeys((FORGOTTEN_USERS, ITEM_STATES), READ),
    CHECKPOINTS: BOTH,
}


def check_worker(settings: Settings) -> None:
    """`check_access` of what a worker of the settings' role needs."""
    check_access(settings, WORKERS[settings.role], group=settings.kafka.group if settings.work.absorbs else "")


def check_access(settings: Settings, needs: Needs, *, group: str = "") -> None:
    """Raises `BrokerRefusedError` with everything that the user of `settings` may not do, of what it needs of topics
    that exist. `group`: the consumer group that it takes part in, too."""
    with admin_client(settings) as admin:
        full = {settings.topic(name): name for name in needs}
        topics_by_operations: dict[str, list[str]] = {}
        for entry in sorted(admin.describe_topics(list(full)), key=itemgetter("name")):
            missing = sorted(set(needs[full[entry["name"]]]) - _granted(entry))
            if missing:
                topics_by_operations.setdefault(" and ".join(missing), []).append(entry["name"])
        told = [f"{operations} on {', '.join(topics)}" for operations, topics in topics_by_operations.items()]
        if group and not _may_join(admin, group):
            told.append(f"READ on the group {group}")
    if told:
        raise lacking(settings, "; ".join(told))


def _granted(described: Mapping[str, Any]) -> set[str]:
    """What the broker grants of a topic: everything where it does not tell, or the topic does not exist."""
    told = described.get("authorized_operations")
    return {*BOTH, "DESCRIBE"} if told is None else set(told)


def _may_join(admin: KafkaAdminClient, group: str) -> bool:
    try:
        described = admin.describe_groups([group]).get(group) or {}
    except GroupAuthorizationFailedError:
        return False
    except KafkaError:  # a new cluster has no coordinator yet
        return True
    told = described.get("authorized_operations")
    return told is None or "READ" in told
