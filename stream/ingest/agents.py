"""The agents: Faust reads the log for the group and hands every event to the assignment. Nothing else happens here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import faust
from faust.auth import OAuthCredentials
from faust.types import TP
from faust.types.auth import AuthProtocol

from store.reporting.log_lines import QUIET
from store.security import async_client_security
from store.settings import Settings
from store.topics import ENGAGEMENTS, ITEM_SIGNALS, PROFILES, RECOMMEND_REQUESTS, UPLOADS
from stream.ingest.assignment import Assignment, Factory
from stream.kafka.state_topics import METADATA_AGE_MS

AGENTS = (UPLOADS, ENGAGEMENTS, PROFILES, ITEM_SIGNALS, RECOMMEND_REQUESTS)
"""The topics that agents read; each agent is named by its topic."""


def create_app(settings: Settings, assignment: Assignment, factories: Mapping[str, Factory], folder: Path) -> faust.App:
    """The Faust app of one worker; `factories` make the partitions that the group gives it. Offsets are committed up to
    what the partitions have acknowledged."""
    kafka = settings.kafka
    app = faust.App(
        kafka.group,
        broker=[f"kafka://{address}" for address in kafka.bootstrap_servers.split(",")],
        datadir=str(folder),
        autodiscover=False,
        web_enabled=False,
        loghandlers=[],
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=kafka.partitions,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=kafka.heartbeat_s,
        broker_commit_interval=kafka.commit_interval_s,
        broker_max_poll_records=1000,
        consumer_max_fetch_size=4 << 20,
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        stream_buffer_maxsize=512,
        **_security(settings),
    )
    for name in AGENTS:
        _add_agent(app, settings, assignment, name)
    _follow_rebalances(app, settings, assignment, factories)
    _silence()
    return app


def _add_agent(app: faust.App, settings: Settings, assignment: Assignment, name: str) -> None:
    topic = app.topic(
        settings.topic(name),
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        partitions=settings.kafka.partitions,
        allow_empty=True,
    )

    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            await assignment.take(name, event)

    app.agent(topic, name=name)(agent)


def _follow_rebalances(
    app: faust.App, settings: Settings, assignment: Assignment, factories: Mapping[str, Factory]
) -> None:
    names = {settings.topic(name): name for name in AGENTS}

    async def assigned(_: Any, partitions: Iterable[TP], **__: Any) -> None:
        pairs = [(names[tp.topic], tp.partition) for tp in partitions if tp.topic in names]
        await assignment.assign(pairs, app.consumer_generation_id, factories)

    app.on_partitions_assigned.connect(assigned, weak=False)


def _security(settings: Settings) -> dict[str, Any]:
    """Faust's words for what an aiokafka client takes: it knows no TLS without credentials of a kind."""
    options = async_client_security(settings.kafka)
    protocol, context = AuthProtocol(options["security_protocol"]), options.get("ssl_context")
    if protocol == AuthProtocol.PLAINTEXT:
        return {}
    if protocol == AuthProtocol.SSL:
        return {"broker_credentials": faust.SSLCredentials(context)}
    if "sasl_oauth_token_provider" in options:
        return {
            "broker_credentials": OAuthCredentials(oauth_cb=options["sasl_oauth_token_provider"], ssl_context=context)
        }
    return {
        "broker_credentials": faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    }


def _silence() -> None:
    """Known noise: these messages repeat what is either harmless or reported by other means."""
    for name, level in QUIET.items():
        if not logging.getLogger(name).level:  # a process of its own has set them
            logging.getLogger(name).setLevel(level)
