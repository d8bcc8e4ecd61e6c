"""sidestream for applications: publish events, ask for recommendations. Nothing else is promised to them.

    from sidestream import Client, Publisher

`Publisher` sends uploads, engagements and profiles to Kafka; `Client` asks a running scorer. Each is imported when it
is first used, so that an application which only asks needs no Kafka client in memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.client.client import Client
    from stream.client.publisher import Publisher

__all__ = ["Client", "Publisher"]

_HOMES = {"Client": "stream.client.client", "Publisher": "stream.client.publisher"}


def __getattr__(name: str) -> Any:
    """Import a public name where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"sidestream has no {name}: it offers {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
