"""Settings: every knob, its default and why, in one frozen tree that comes from one TOML file and the environment.

A TOML table is a field of `Settings`, a key is a field of its table. The environment overrides:
`SIDESTREAM_KAFKA__GROUP` is `[kafka] group`; values are TOML (a bare word is taken as a string). A name that does not
exist is an error.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any, Literal

import msgspec

from store.events import KINDS, Limits

PREFIX = "SIDESTREAM_"

WEIGHTS: Mapping[str, float] = {
    "click": 1.0,
    "watch": 1.0,
    "like": 2.0,
    "comment": 2.0,
    "share": 3.0,
    "save": 2.0,
    "follow": 2.0,
    "purchase": 3.0,
    "skip": -1.0,
    "dislike": -2.0,
    "hide": -3.0,
}
"""What each kind counts for by default; a kind that is missing counts 0 (an impression)."""

COMPLETED: Mapping[str, float] = {"watch": 0.8}


class SettingsError(ValueError):
    """The settings file or an environment variable is wrong: the message names the key; correct it and start again."""


class Table(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table of the settings file."""


class Kafka(Table, frozen=True):
    """How to reach the log. With session timeout 10 s a dead worker's partitions move within 10 to 15 s."""

    bootstrap_servers: str = "127.0.0.1:9092"
    topic_prefix: str = "sidestream."
    partitions: int = 4
    replication: int = -1
    group: str = "sidestream"
    session_timeout_s: float = 10.0
    heartbeat_s: float = 1.0
    commit_interval_s: float = 1.0
    max_record_bytes: int = 1 << 20
    start_over: Literal["", "beginning", "end"] = ""
    """What to do with a log that is not the one that was read before, or ends before what was read: refuse to start, or
    go on from its beginning (it was created anew) or from its end (it was cut, or restored from a copy)."""
    client: dict[str, str | int | bool] = {}
    """More properties for every Kafka client by aiokafka's names (security_protocol, sasl_mechanism, ssl_cafile…)."""


class Events(Table, frozen=True):
    """What counts. A weight above 0 is positive: it enters histories' contexts, popularity and the seen set.
    `completed`: kind → the least `value` (watched fraction, rating) that counts as completed."""

    weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(WEIGHTS))
    completed: dict[str, float] = msgspec.field(default_factory=lambda: dict(COMPLETED))
    max_future_s: float = 86_400.0


class Store(Table, frozen=True):
    """Memory on disk, and how long changes may wait before they are published. A busy worker publishes at
    most about `published_rows_per_s` item rows, and half as many user rows: a row waits, and travels with more changes.
    An item's vector counts from its `vector_admit_after`th positive engagement on, and is forgotten `vector_horizon_s`
    of event time after the last; a worker keeps up to `cached_vectors` in memory.
    """

    history_length: int = 128
    context_length: int = 20
    item_publish_interval_s: float = 0.1
    user_publish_interval_s: float = 2.0
    published_rows_per_s: int = 2000
    vector_admit_after: int = 1
    vector_horizon_s: float = inf
    cached_vectors: int = 200_000


class Content(Table, frozen=True):
    """Content vectors: `encoder` is static (wordllama tables) or minilm; `widths` fixes those of given modalities."""

    encoder: str = "static"
    widths: dict[str, int] = {}


class Codebook(Table, frozen=True):
    """Semantic IDs: `levels` codes, level l of `width / 2**l` when `halving`; learned from `learn_after_items` on.
    `refresh_on_drift`: the trainer refreshes the version by itself when fresh items fit it badly."""

    levels: int = 3
    width: int = 256
    halving: bool = False
    learn_after_items: int = 500
    refresh_on_drift: bool = True
    seed: int = 0


class Model(Table, frozen=True):
    """The decoder: small enough to train and serve on two cores. `history`: items of a user that it reads."""

    layers: int = 3
    width: int = 128
    heads: int = 4
    text_vocabulary: int = 4096
    history: int = 50


class Training(Table, frozen=True):
    """When the trainer runs, and for how long it may. Whichever trigger comes first starts a run; the very first one
    waits for `first_engagements` only. A run reads at most about `max_engagements` new ones (the newest), and
    `lookback_engagements` from before them. `gate_floor`: part of popular's hits that a model must reach;
    `gate_min_events`: the smallest slice that decides. An example backfill gives the ranker those that workers were too
    busy to make, from the newest `backfill_engagements` (0: none). `metrics_port` -1: no metrics face.
    """

    every_s: float = 4 * 3600.0
    every_engagements: int = 100_000
    first_engagements: int = 5_000
    min_engagements: int = 200
    max_engagements: int = 1_000_000
    lookback_engagements: int = 100_000
    backfill_engagements: int = 200_000
    max_steps: int = 100_000
    epochs: float = 4.0
    drift_ratio: float = 0.7
    max_seconds: float = 120.0
    replay_ratio: float = 0.25
    gate_engagements: int = 500
    gate_tolerance: float = 0.05
    gate_floor: float = 0.25
    gate_min_events: int = 50
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 8471
    niceness: int = 5
    threads: int = 1
    keep_checkpoints: int = 5
    seed: int = 0


class Utility(Table, frozen=True):
    """What a shown line is worth: click · P(click) + completion · P(click) · P(completion) - negative · P(negative)."""

    click: float = 1.0
    completion: float = 0.25
    negative: float = 1.0


class Serving(Table, frozen=True):
    """The worker's HTTP face and the request path. `watch_s`: how long a new checkpoint is on probation. The share
    `live_sample` of engagements is scored before they are learned from, as far as that takes no more than
    `live_sample_time` of the worker's time: the ranker learns from them, and some are the live metric. The lines of
    `impression_sample` of the answers are published for the ranker to learn from: an untouched one is a negative after
    `impression_window_s` of event time. With `repeats`, what the user has may be recommended again."""

    host: str = "127.0.0.1"
    port: int = 8470
    advertise: str = ""
    beams: int = 24
    explore_share: float = 0.1
    watch_s: float = 600.0
    rollback_ratio: float = 0.7
    live_sample: float = 1.0
    live_sample_time: float = 0.1
    impression_sample: float = 0.25
    impression_window_s: float = 1800.0
    repeats: bool = False
    utility: Utility = Utility()


class Freshness(Table, frozen=True):
    """Objectives, seconds: what `status` and the alert rules hold the system to."""

    upload_to_recommendable_s: float = 1.0
    engagement_to_embedding_s: float = 0.5
    model_data_age_s: float = 6 * 3600.0


class Settings(Table, frozen=True):
    """All settings. `data_dir` holds the worker's rows; `checkpoint_dir` is shared by trainer and workers."""

    data_dir: str = ".sidestream"
    checkpoint_dir: str = ""
    kafka: Kafka = Kafka()
    events: Events = Events()
    store: Store = Store()
    content: Content = Content()
    codebook: Codebook = Codebook()
    model: Model = Model()
    training: Training = Training()
    serving: Serving = Serving()
    freshness: Freshness = Freshness()

    def topic(self, name: str) -> str:
        """The full name of one of the topics in docs/contracts.md."""
        return f"{self.kafka.topic_prefix}{name}"

    def event_limits(self) -> Limits:
        """The bounds that every event must keep."""
        return Limits(self.kafka.max_record_bytes, self.events.max_future_s, self.content.widths)

    def checkpoint_folder(self) -> Path:
        """Where checkpoints and codebooks lie; by default inside the data folder."""
        return Path(self.checkpoint_dir) if self.checkpoint_dir else Path(self.data_dir) / "checkpoints"


def load_settings(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from defaults, then `file` (or `$SIDESTREAM_SETTINGS`), then the environment."""
    named = file or (Path(environment[f"{PREFIX}SETTINGS"]) if environment.get(f"{PREFIX}SETTINGS") else None)
    tree: dict[str, Any] = {}
    if named is not None:
        try:
            tree = tomllib.loads(named.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(f"no settings file {named}: give one that exists, or none for the defaults") from None
        except OSError as error:
            raise SettingsError(f"{named} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{named}: {error}") from None
    for name, text in environment.items():
        if name.startswith(PREFIX) and "__" in name:
            _put(tree, name[len(PREFIX) :].lower().split("__"), _value(text), name)
    for plain in ("data_dir", "checkpoint_dir"):
        if environment.get(f"{PREFIX}{plain.upper()}"):
            tree[plain] = environment[f"{PREFIX}{plain.upper()}"]
    if environment.get(f"{PREFIX}BOOTSTRAP_SERVERS"):
        _put(tree, ["kafka", "bootstrap_servers"], environment[f"{PREFIX}BOOTSTRAP_SERVERS"], "BOOTSTRAP_SERVERS")
    return settings_from(tree)


def settings_from(tree: Mapping[str, Any]) -> Settings:
    """Checked settings from nested tables."""
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from None
    for name, table in (("weights", settings.events.weights), ("completed", settings.events.completed)):
        unknown = set(table) - set(KINDS)
        if unknown:
            kinds = ", ".join(KINDS)
            raise SettingsError(f"settings: events.{name} names unknown kinds {sorted(unknown)}: use {kinds}")
    return settings


def to_toml(settings: Settings) -> str:
    """The settings as a file that `load_settings` reads back."""
    lines: list[str] = []
    _write_table(lines, "", msgspec.to_builtins(settings))
    return "\n".join(lines) + "\n"


def _write_table(lines: list[str], name: str, table: Mapping[str, Any]) -> None:
    if name:
        lines.append(f"\n[{name}]")
    # Tables come after the values, or these would belong to them.
    lines += [f"{_toml(key)} = {_toml(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            _write_table(lines, f"{name}.{key}" if name else key, value)


def _toml(scalar: Any) -> str:
    """A JSON scalar is a TOML value too, but for what TOML will not have escaped in pairs, DEL and the infinities."""
    if isinstance(scalar, float):
        return repr(scalar)
    return json.dumps(scalar, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: dict[str, Any], path: list[str], value: Any, name: str) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"{name}: `{key}` is a value, not a table")
    tree[path[-1]] = value
