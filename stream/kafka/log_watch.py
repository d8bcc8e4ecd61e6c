"""The log watch: a running worker notices that a topic under it was replaced, cut, or given more partitions.

Clients follow such a change without a word: they go on at the beginning, or the end, of what is there now. What lies
before a partition's cursor would be passed over as known, and keys would lie in other partitions than their rows do.
So the worker ends with an error, having committed nothing that counts (the position decides where reading goes on).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from store.settings import Settings
from store.topics import CHECKPOINTS
from stream.kafka.connections import BrokerUnavailableError, admin_client
from stream.kafka.log_identity import LogReplacedError, moved_keys
from stream.kafka.topics import TopicState, describe_topics

log = logging.getLogger(__name__)

Reached = Callable[[], Mapping[tuple[str, int], int]]
"""(full topic, partition) → the next offset that a partition at work will read."""


class LogWatch:
    """Looks at the topics every `interval_s`. A broker that does not answer is no finding."""

    def __init__(self, settings: Settings, reached: Reached, interval_s: float = 5.0) -> None:
        self._settings = settings
        self._reached = reached
        self._interval_s = interval_s
        self._ids: dict[str, str] = {}

    async def run(self) -> None:
        """Watches until cancelled; raises `LogReplacedError`."""
        while True:
            reached = dict(self._reached())  # before the ends: what was read then is there
            try:
                await asyncio.to_thread(self._look, reached)
            except (KafkaError, BrokerUnavailableError) as error:
                log.debug("the topics were not looked at: %r", error)
            await asyncio.sleep(self._interval_s)

    def _look(self, reached: Mapping[tuple[str, int], int]) -> None:
        for state in describe_topics(self._settings):
            self._compare(state)
        if reached:
            with admin_client(self._settings) as admin:
                _compare_ends(admin, reached)

    def _compare(self, state: TopicState) -> None:
        known = self._ids.setdefault(state.full_name, state.topic_id) or state.topic_id
        if state.topic_id and state.topic_id != known:
            raise LogReplacedError(
                f"{state.full_name} was created anew while this worker read it: start again, and it says what to do"
            )
        if state.name == CHECKPOINTS and state.partitions > 1:
            raise LogReplacedError(
                f"{state.full_name} was given {state.partitions} partitions, and order matters across all of its "
                "records: delete it, run `sidestream topics create`, and promote the checkpoint that is to serve"
            )
        wanted = self._settings.kafka.partitions
        if state.co_partitioned and state.partitions > wanted:
            raise LogReplacedError(moved_keys(state.full_name, state.partitions, wanted))


def _compare_ends(admin: KafkaAdminClient, reached: Mapping[tuple[str, int], int]) -> None:
    places = {TopicPartition(*place): offset for place, offset in reached.items()}
    ends = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
    for place, offset in places.items():
        if ends[place].offset < offset:
            raise LogReplacedError(
                f"{place.topic} partition {place.partition} ends at {ends[place].offset}, and was read up to "
                f"{offset - 1}: it was created anew, cut or restored. Start again, and it says what to do"
            )
