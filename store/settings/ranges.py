"""Ranges: the types that settings have, each with what it allows."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Count = Annotated[int, Meta(ge=0)]
AtLeast1 = Annotated[int, Meta(ge=1)]
AtLeast2 = Annotated[int, Meta(ge=2)]
Depth = Annotated[int, Meta(ge=1, le=8)]
Width = Annotated[int, Meta(ge=1, le=512)]
Port = Annotated[int, Meta(ge=-1, le=65_535)]
Niceness = Annotated[int, Meta(ge=-20, le=19)]
