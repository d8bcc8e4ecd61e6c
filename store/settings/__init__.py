"""Settings: what a user can turn, each with its default and range, from one TOML file and the environment.

A TOML table is a field of `Settings`, a key is a field of its table. The environment overrides:
`SIDESTREAM_KAFKA__GROUP` is `[kafka] group`; values are TOML (a bare word is taken as a string). Every mistake is named
with its key, its value and what is allowed, or with the nearest key that there is.

May import the rest of `store`. Invariant: settings never change once they are read.
"""

from store.settings.checks import LOOPBACK, SettingsError, unguarded
from store.settings.learning_tables import (
    Candidates,
    Codebook,
    Content,
    Items,
    Model,
    Quotas,
    Ranking,
    Spectral,
    Training,
    Vectors,
)
from store.settings.loading import DEFAULT, PREFIX, LoadedSettings, load_settings, read_settings, settings_from
from store.settings.ranges import Table
from store.settings.roles import Role, RoleName
from store.settings.surface_tables import Fallback, Precomputed, TaskSettings, Utility
from store.settings.tables import (
    COMPLETED,
    WEIGHTS,
    Envelopes,
    Events,
    Freshness,
    Kafka,
    Logging,
    Registry,
    Security,
    Serving,
    Settings,
    Store,
    Tls,
    Tokens,
    Tracing,
)
from store.settings.writing import to_toml

__all__ = [
    "COMPLETED",
    "DEFAULT",
    "LOOPBACK",
    "PREFIX",
    "WEIGHTS",
    "Candidates",
    "Codebook",
    "Content",
    "Envelopes",
    "Events",
    "Fallback",
    "Freshness",
    "Items",
    "Kafka",
    "LoadedSettings",
    "Logging",
    "Model",
    "Precomputed",
    "Quotas",
    "Ranking",
    "Registry",
    "Role",
    "RoleName",
    "Security",
    "Serving",
    "Settings",
    "SettingsError",
    "Spectral",
    "Store",
    "Table",
    "TaskSettings",
    "Tls",
    "Tokens",
    "Tracing",
    "Training",
    "Utility",
    "Vectors",
    "load_settings",
    "read_settings",
    "settings_from",
    "to_toml",
    "unguarded",
]
