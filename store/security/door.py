"""The door: the one way in which kafka-python's clients reach the log, of the trainer, of workers and of commands.

A client is given one bootstrap server, which was asked first and lets it in: kafka-python spends all its time on one of
several, drawn by chance, which may stand still.

Invariant: a client that is made with these options finds a server that answered a moment ago, or it is not made.
"""

from __future__ import annotations

from typing import Any

from store.security.options import client_security
from store.security.probe import find_server
from store.settings import Kafka


def client_options(kafka: Kafka) -> dict[str, Any]:
    """The options that every kafka-python client is made with. Raises as `find_server` does."""
    return {
        "bootstrap_servers": [find_server(kafka)],
        "bootstrap_timeout_ms": int(kafka.connect_timeout_s * 1000),
        "reconnect_backoff_max_ms": 1000,
        **client_security(kafka),
    }
