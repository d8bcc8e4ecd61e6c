"""A request to publish every row again: a record of `checkpoints`, which every worker reads, though it is of no model.

Invariant: what is no request of ours is told from one, whatever it holds.
"""

from __future__ import annotations

import msgspec

from store.records.foreign import UNREADABLE

REPUBLISH_KEY = b"republish"
MOST_LETTERS = 100


class RepublishRequest(msgspec.Struct, kw_only=True, frozen=True):
    """A person's request that every owner publishes all of its rows again. `request` names it in the answers."""

    request: str
    requested_at: float

    def fault(self) -> str:
        """Why nobody can have asked for this; empty if one can."""
        named = 0 < len(self.request) <= MOST_LETTERS and self.request.isascii() and self.request.isprintable()
        return "" if named and " " not in self.request else "a request without a name"


_decoder = msgspec.json.Decoder(RepublishRequest)


def request_in(key: bytes | None, value: bytes | None) -> str:
    """The name of the request that a record of `checkpoints` is; "" if it is another record."""
    if key != REPUBLISH_KEY:
        return ""
    try:
        found = _decoder.decode(value or b"")
    except UNREADABLE:
        return ""
    return "" if found.fault() else found.request
