"""Roles: what a worker is for. This is the one place that decides what a worker of a role does.

`all` absorbs events and answers requests. `ingest` absorbs and publishes, and answers nothing. `serve` answers, takes
part in no group, and asks the owner of a user for the user's row.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

RoleName = Literal["all", "ingest", "serve"]


class Role(NamedTuple):
    """`absorbs`: it takes part in the group, and its partitions absorb events and publish rows. `answers`: it keeps
    what ranking needs, and answers for every user."""

    name: RoleName
    absorbs: bool
    answers: bool


_ROLES: dict[RoleName, Role] = {
    "all": Role("all", absorbs=True, answers=True),
    "ingest": Role("ingest", absorbs=True, answers=False),
    "serve": Role("serve", absorbs=False, answers=True),
}


def role_called(name: RoleName) -> Role:
    """What a worker of this role does."""
    return _ROLES[name]
