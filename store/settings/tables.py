"""The tables of the settings, each with its keys, their defaults and ranges, and why (learning: `learning_tables`)."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Literal

from msgspec import field

from store.events import Limits
from store.requests import Task
from store.settings.learning_tables import (
    Candidates,
    Codebook,
    Content,
    Items,
    Model,
    Ranking,
    Spectral,
    Training,
    Vectors,
)
from store.settings.ranges import (
    DAY_S,
    AtLeast1,
    Count,
    LateShare,
    NotNegative,
    Port,
    Positive,
    Replication,
    Share,
    Table,
    UpToAnHour,
)
from store.settings.roles import Role, RoleName, role_called
from store.settings.surface_tables import Precomputed, TaskSettings, Utility

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


class Security(Table, frozen=True):
    """How Kafka's clients prove who they are and whom they trust. With SASL: `mechanism` with `username` and `password`
    (or `password_file`), or OAUTHBEARER with `token`, a hook `module:function` that returns a bearer token. With TLS:
    `ca_file` (PEM; empty: what the system trusts), and for mutual TLS `certificate_file`, `key_file`."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "PLAIN"
    username: str = ""
    password: str = ""
    password_file: str = ""
    token: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: str = ""
    key_password_file: str = ""
    check_hostname: bool = True


class Envelopes(Table, frozen=True):
    """How rows of databases, as Debezium and Kafka Connect send them, become events: for each topic field → column,
    where the column has another name than the field (`features.visual` and `attributes.age` are one entry); `__table`
    is the row's table and `__ts_ms` the time of its change. `kinds`: what the rows call a kind → the kind."""

    uploads: dict[str, str] = field(default_factory=dict)
    engagements: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


class Registry(Table, frozen=True):
    """The schema registry of records in Avro or by JSON Schema (empty: there is none): with `username`, `password` (or
    `password_file`), whom to trust in `ca_file` (PEM; empty: what the system trusts). While it does not answer within
    `timeout_s`, records that need it wait, `wait_s` at most: then the worker ends with an error. Nothing is lost."""

    url: str = ""
    username: str = ""
    password: str = ""
    password_file: str = ""
    ca_file: str = ""
    timeout_s: Positive = 5.0
    wait_s: Positive = 300.0


class Kafka(Table, frozen=True):
    """How to reach the log. With session timeout 10 s a dead worker's partitions move within 10 to 15 s. A client that
    finds no broker within `connect_timeout_s` says so."""

    bootstrap_servers: str = "127.0.0.1:9092"
    topic_prefix: str = "sidestream."
    partitions: AtLeast1 = 4
    replication: Replication = -1
    group: str = "sidestream"
    session_timeout_s: Positive = 10.0
    heartbeat_s: Positive = 1.0
    commit_interval_s: Positive = 1.0
    connect_timeout_s: Positive = 5.0
    max_record_bytes: AtLeast1 = 1 << 20
    start_over: Literal["", "beginning", "end"] = ""
    """What to do with a log that is not the one that was read before, or ends before what was read: refuse to start, or
    go on from its beginning (it was created anew) or from its end (it was cut, or restored from a copy)."""
    client: dict[str, str | int | bool] = field(default_factory=dict)
    """More properties for every Kafka client, by the names that kafka-python and aiokafka share."""
    security: Security = Security()
    envelopes: Envelopes = Envelopes()
    registry: Registry = Registry()


class Events(Table, frozen=True):
    """What counts. A weight above 0 is positive: it enters histories' contexts, popularity and the seen set.
    `completed`: kind → the least `value` (watched fraction, rating) that counts as completed."""

    weights: dict[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    completed: dict[str, float] = field(default_factory=lambda: dict(COMPLETED))
    max_future_s: NotNegative = 86_400.0


class Store(Table, frozen=True):
    """Memory on disk, and how long changes may wait before they are published. A busy worker publishes as many
    rows as a bounded part of its time allows, some seconds' worth at once at most: a row waits, and travels with more
    changes. `published_rows_per_s` is the guess for item rows, half of it for user rows, until it is measured.
    An item's vector counts from its `vector_admit_after`th positive engagement on, and is forgotten `vector_horizon_s`
    of event time after the last; a worker keeps up to `cached_vectors` in memory. The row of a user goes `user_days`
    after the last record about it, that of an item `item_days`, or `unknown_item_days` where the item is not in the
    catalogue (never uploaded, or taken down); 0: never. Who comes back later starts anew.
    """

    history_length: AtLeast1 = 128
    context_length: Count = 20
    seen_items: AtLeast1 = 4096
    item_publish_interval_s: NotNegative = 0.1
    user_publish_interval_s: NotNegative = 2.0
    published_rows_per_s: AtLeast1 = 2000
    vector_admit_after: Count = 1
    vector_horizon_s: Positive = inf
    cached_vectors: Count = 200_000
    user_days: NotNegative = 730.0
    item_days: NotNegative = 730.0
    unknown_item_days: NotNegative = 30.0


class Tokens(Table, frozen=True):
    """What a request to a worker must bear, by role, each including the ones before: read, write (the console's
    clicks), operate (workers among themselves). All three or none."""

    read: str = ""
    write: str = ""
    operate: str = ""


class Tls(Table, frozen=True):
    """TLS of a worker's HTTP face: with `certificate_file` (and `key_file`, where the key lies apart; PEM, read at the
    start) it speaks HTTPS and nothing else. `ca_file`: the authorities that commands and workers among themselves
    trust; empty: those of the machine."""

    certificate_file: str = ""
    key_file: str = ""
    ca_file: str = ""


class Serving(Table, frozen=True):
    """The worker's HTTP face and the request path. A user's request is passed on to the worker that has the user, which
    answers within `peer_timeout_s`, or is done without: with `standby` by a copy of the user's row, for each worker
    follows those that others own, on its disk. Asked to stop, a worker says so at `/readyz` and answers for
    `drain_s` more, so that a balancer can notice. Beyond `most_waiting` requests and `most_waiting_batches` batches
    that wait for their answers it refuses with 503. `watch_s`: how long a new checkpoint is on probation. The share
    `live_sample` of engagements is scored before they are learned from, as far as that takes no more than
    `live_sample_time` of the worker's time: the ranker learns from them, and some are the live metric. The lines of
    `impression_sample` of the answers are published for the ranker to learn from: an untouched one is a negative after
    `impression_window_s` of event time. The share
    `explore_share` of answers shows an item with fewer than `explore_below` engagements in its last place. With
    `repeats`, what the user has may be recommended again."""

    host: str = "127.0.0.1"
    port: Port = 8470
    advertise: str = ""
    open: bool = False
    """Serves beyond this machine without tokens: where a private network keeps strangers out."""
    console: bool = True
    """The page, and what it asks."""
    tokens: Tokens = Tokens()
    tls: Tls = Tls()
    beams: AtLeast1 = 24
    drain_s: NotNegative = 5.0
    most_waiting: AtLeast1 = 64
    most_waiting_batches: AtLeast1 = 4
    explore_share: Share = 0.1
    explore_below: Count = 5
    watch_s: NotNegative = 600.0
    rollback_ratio: NotNegative = 0.7
    live_sample: Share = 1.0
    live_sample_time: Share = 0.1
    peer_timeout_s: Positive = 1.0
    standby: bool = True
    impression_sample: Share = 0.25
    impression_window_s: NotNegative = 1800.0
    repeats: bool = False
    utility: Utility = Utility()
    precomputed: Precomputed = Precomputed()
    tasks: dict[Task, TaskSettings] = field(default_factory=dict)
    """By task, e.g. `[serving.tasks.notification]`."""

    def url_at(self, host: str, port: int) -> str:
        """The address of a worker's face, e.g. `https://[::1]:8470`."""
        scheme = "https" if self.tls.certificate_file else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class Freshness(Table, frozen=True):
    """Objectives: what `status`, the page and the alert rules of `deploy/` hold the system to. Every `canary_s` a
    canary leaves for each partition of `uploads` and `engagements`, so that a way on which nothing comes is known to be
    open, or not (0: none)."""

    canary_s: UpToAnHour = 5.0
    upload_to_recommendable_s: Positive = 1.0
    engagement_to_embedding_s: Positive = 0.5
    model_data_age_s: Positive = 6 * 3600.0
    codebook_age_s: Positive = 14 * DAY_S
    input_lag_events: AtLeast1 = 10_000
    late_share: LateShare = 0.01
    """Of the events, and of the time: an alert comes when this much of a month would be used up in hours."""


Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Logging(Table, frozen=True):
    """The log of every process (broker, worker, trainer, `up`): text for people or JSON, one object a line, from
    `level` on; `levels` gives parts their own, by the name that their lines show (`stream.kafka`, `aiokafka`)."""

    format: Literal["text", "json"] = "text"
    level: Level = "INFO"
    levels: dict[str, Level] = field(default_factory=dict)


class Tracing(Table, frozen=True):
    """OpenTelemetry (the extra `otel`): spans of single events go to the collector at `endpoint`, by OTLP over HTTP;
    empty: none. Of the traces that others began, and said to be sampled, the share `sample_share` is gone on with, and
    of what a publisher sends outside of any, the same share begins one. `headers_file`: what each request to the
    collector bears, one `name: value` a line. `ca_file`: the authorities that it is trusted by; empty: the machine's. A
    collector that does not answer within `timeout_s` has not taken what it was sent."""

    endpoint: str = ""
    sample_share: Share = 0.01
    service_name: str = "sidestream"
    headers_file: str = ""
    ca_file: str = ""
    timeout_s: Positive = 5.0


class Settings(Table, frozen=True):
    """All settings. `data_dir` holds the worker's rows; `checkpoint_dir` is shared by trainer and workers. `role`: what
    a worker does: absorb events (`ingest`), answer requests (`serve`), or both (`all`)."""

    data_dir: str = ".sidestream"
    checkpoint_dir: str = ""
    role: RoleName = "all"
    kafka: Kafka = Kafka()
    events: Events = Events()
    store: Store = Store()
    content: Content = Content()
    codebook: Codebook = Codebook()
    items: Items = Items()
    vectors: Vectors = Vectors()
    spectral: Spectral = Spectral()
    candidates: Candidates = Candidates()
    ranking: Ranking = Ranking()
    model: Model = Model()
    training: Training = Training()
    serving: Serving = Serving()
    freshness: Freshness = Freshness()
    logging: Logging = Logging()
    tracing: Tracing = Tracing()

    @property
    def work(self) -> Role:
        """What a worker with these settings does."""
        return role_called(self.role)

    def topic(self, name: str) -> str:
        """The full name of one of the topics in docs/contracts.md."""
        return f"{self.kafka.topic_prefix}{name}"

    def event_limits(self) -> Limits:
        """The bounds that every event must keep."""
        return Limits(self.kafka.max_record_bytes, self.events.max_future_s, self.content.widths)

    def checkpoint_folder(self) -> Path:
        """Where checkpoints and codebooks lie; by default inside the data folder."""
        return Path(self.checkpoint_dir) if self.checkpoint_dir else Path(self.data_dir) / "checkpoints"
