"""Ages of rows: how far and how old an encoded row is, without decoding what it holds, which is most of the cost.

Invariant: a field that a kind of row gets is passed over by itself; a row of an earlier release has no time (0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


def ages_in(kind: type[msgspec.Struct]) -> Callable[[bytes], tuple[int, int]]:
    """Encoded row of this kind (an array with `offset` and `touched_s`) → its offset, and its time in epoch seconds."""
    numbers = {"offset": -1, "touched_s": 0}
    fields = [
        (name, int, numbers[name]) if name in numbers else (name, msgspec.Raw, msgspec.Raw())
        for name in kind.__struct_fields__
    ]
    decoder = msgspec.msgpack.Decoder(msgspec.defstruct(f"{kind.__name__}Age", fields, array_like=True))

    def age_of(value: bytes) -> tuple[int, int]:
        found: Any = decoder.decode(value)
        return found.offset, found.touched_s

    return age_of
