"""Topic names: what each topic of the log is called, without the prefix that `Settings.topic` puts before it.

Invariant: no other module of the house writes one of these names as a string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

UPLOADS: Final = "uploads"
ENGAGEMENTS: Final = "engagements"
PROFILES: Final = "profiles"
ITEM_SIGNALS: Final = "item-signals"
SEMANTIC_IDS: Final = "semantic-ids"
UPLOAD_STATES: Final = "upload-states"
FORGOTTEN_USERS: Final = "forgotten-users"
ITEM_STATES: Final = "item-states"
USER_STATES: Final = "user-states"
CHECKPOINTS: Final = "checkpoints"
RANKING_EXAMPLES: Final = "ranking-examples"
RECOMMEND_REQUESTS: Final = "recommend-requests"
RECOMMENDATIONS: Final = "recommendations"
DEAD_LETTERS: Final = "dead-letters"

EventTopic = Literal["uploads", "engagements", "profiles"]
"""The topics whose events applications publish."""

KEY_FIELDS: Final[Mapping[str, str]] = {UPLOADS: "item_id", ENGAGEMENTS: "user_id", PROFILES: "user_id"}
"""The field of an event that is its record's key."""
TIME_FIELDS: Final[Mapping[str, str]] = {UPLOADS: "uploaded_at", ENGAGEMENTS: "occurred_at", PROFILES: "updated_at"}
"""The field that says when it was."""

TOPIC_NAMES: Final = (
    *(UPLOADS, ENGAGEMENTS, PROFILES, ITEM_SIGNALS, SEMANTIC_IDS, UPLOAD_STATES, ITEM_STATES, USER_STATES),
    *(FORGOTTEN_USERS, CHECKPOINTS, RANKING_EXAMPLES, RECOMMEND_REQUESTS, RECOMMENDATIONS, DEAD_LETTERS),
)
"""Every topic."""


def trainer_group(group: str) -> str:
    """The consumer group in which the trainers of a system choose the one at work; `group`: the workers'."""
    return f"{group}-trainer"
