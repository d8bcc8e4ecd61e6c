"""Ranges: what a table of the settings is, and the types that its keys have, each with what it allows."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

DAY_S = 86_400.0

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
LateShare = Annotated[float, Meta(ge=0.0001, le=0.05)]
NotNegative = Annotated[float, Meta(ge=0.0)]
UpToAnHour = Annotated[float, Meta(ge=0.0, le=3600.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Count = Annotated[int, Meta(ge=0)]
AtLeast1 = Annotated[int, Meta(ge=1)]
AtLeast2 = Annotated[int, Meta(ge=2)]
Depth = Annotated[int, Meta(ge=1, le=8)]
Width = Annotated[int, Meta(ge=1, le=512)]
Port = Annotated[int, Meta(ge=-1, le=65_535)]
Replication = Annotated[int, Meta(ge=-1)]
Niceness = Annotated[int, Meta(ge=-20, le=19)]


class Table(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table of the settings file."""
