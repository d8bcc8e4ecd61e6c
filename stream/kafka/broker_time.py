"""Broker time: records bear the time at which the broker took them, whatever their sender's clock says.

How long a record is kept, whether an event's own time is plausible, what was forgotten before or after, how fresh a
model is: all of that is judged by record times. A sender that sets them decides it (a backfill that keeps its old times
is deleted by the next retention; a clock that is a year ahead makes any time plausible). So the topics for which that
matters are LogAppendTime. `sidestream topics create` makes them so, those of earlier releases too, and a worker does
not start on others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, UnknownTopicOrPartitionError

log = logging.getLogger(__name__)

TIMESTAMPS, BY_BROKER, BY_SENDER = "message.timestamp.type", "LogAppendTime", "CreateTime"
BROKER_TIME: Mapping[str, str] = {TIMESTAMPS: BY_BROKER}


def timestamps_of(admin: KafkaAdminClient, topics: Iterable[str]) -> dict[str, str]:
    """Topic → whose time its records bear; nothing where the broker does not let this client ask."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {TIMESTAMPS: None}) for name in topics]
    try:
        found = admin.describe_configs(asked, config_filter="all").get("topic", {}) if asked else {}
    except KafkaError as error:
        log.warning("cannot ask whose time the records of topics bear, %r: see that it is %s", error, BY_BROKER)
        return {}
    return {name: str(settings[TIMESTAMPS]["value"]) for name, settings in found.items() if TIMESTAMPS in settings}


def time_by_broker(admin: KafkaAdminClient, topics: Iterable[str]) -> None:
    """Has the broker time what these topics get from now on. Raises `KafkaError` where this client may not, or where
    one of them does not exist."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict(BROKER_TIME)) for name in topics]
    try:
        if resources:
            admin.alter_configs(resources)
    except ValueError as error:  # the client asks first what there is to change: nothing of a topic that is not there
        names = ", ".join(resource.name for resource in resources)
        raise UnknownTopicOrPartitionError(f"one of {names} does not exist: `sidestream topics create`") from error
