"""The tables of the settings, each with its keys, their defaults and ranges, and why."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Literal

import msgspec

from store.events import Limits
from store.settings.ranges import AtLeast1, AtLeast2, Count, Depth, Niceness, NotNegative, Port, Positive, Share, Width

DAY_S = 86_400.0

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


class Table(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table of the settings file."""


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


class Kafka(Table, frozen=True):
    """How to reach the log. With session timeout 10 s a dead worker's partitions move within 10 to 15 s. A client that
    finds no broker within `connect_timeout_s` says so."""

    bootstrap_servers: str = "127.0.0.1:9092"
    topic_prefix: str = "sidestream."
    partitions: AtLeast1 = 4
    replication: int = -1
    group: str = "sidestream"
    session_timeout_s: Positive = 10.0
    heartbeat_s: Positive = 1.0
    commit_interval_s: Positive = 1.0
    connect_timeout_s: Positive = 5.0
    max_record_bytes: AtLeast1 = 1 << 20
    start_over: Literal["", "beginning", "end"] = ""
    """What to do with a log that is not the one that was read before, or ends before what was read: refuse to start, or
    go on from its beginning (it was created anew) or from its end (it was cut, or restored from a copy)."""
    client: dict[str, str | int | bool] = {}
    """More properties for every Kafka client, by the names that kafka-python and aiokafka share."""
    security: Security = Security()


class Events(Table, frozen=True):
    """What counts. A weight above 0 is positive: it enters histories' contexts, popularity and the seen set.
    `completed`: kind → the least `value` (watched fraction, rating) that counts as completed."""

    weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(WEIGHTS))
    completed: dict[str, float] = msgspec.field(default_factory=lambda: dict(COMPLETED))
    max_future_s: NotNegative = 86_400.0


class Store(Table, frozen=True):
    """Memory on disk, and how long changes may wait before they are published. A busy worker publishes as many
    rows as a bounded part of its time allows, some seconds' worth at once at most: a row waits, and travels with more
    changes. `published_rows_per_s` is the guess for item rows, half of it for user rows, until it is measured.
    An item's vector counts from its `vector_admit_after`th positive engagement on, and is forgotten `vector_horizon_s`
    of event time after the last; a worker keeps up to `cached_vectors` in memory.
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


class Items(Table, frozen=True):
    """What an item's row learns of transitions: the `neighbours` heaviest are kept, half of a weight is forgotten in
    `neighbour_half_life_s` of event time, and the n-th newest item before weighs n ** -`position_power`."""

    neighbours: AtLeast1 = 64
    neighbour_half_life_s: Positive = 180 * DAY_S
    position_power: NotNegative = 0.5


class Vectors(Table, frozen=True):
    """Item vectors learned per micro-batch: `context` newest items speak, the n-th weighing n ** -`position_power`;
    `rate` is the length of a first step; `negatives` are drawn from the last `negative_pool` items engaged with, and
    the `hard_negatives` nearest to each of `hard_negative_users` users join them. Another `width` starts them anew."""

    width: Width = 64
    context: AtLeast1 = 6
    position_power: NotNegative = 0.7
    temperature: Positive = 0.1
    rate: Positive = 0.8
    negatives: Count = 128
    hard_negatives: AtLeast1 = 20
    hard_negative_users: AtLeast1 = 4
    negative_pool: AtLeast1 = 20_000


class Spectral(Table, frozen=True):
    """The spectral embedding of the transition graph: `width` axes, fitted anew when the positive engagements have
    grown by `refit_growth`, for the first time after `min_positives`; content counts as `content_prior` engagements."""

    width: Width = 64
    iterations: AtLeast1 = 3
    ridge: Positive = 10.0
    content_prior: NotNegative = 3.0
    refit_growth: Positive = 0.12
    min_positives: AtLeast1 = 300


class Quotas(Table, frozen=True):
    """How many candidates each source proposes; `popular` as many for each half-life."""

    follows: Count = 150
    together: Count = 150
    two_hops: Count = 150
    after_last: Count = 60
    counts: Count = 0
    spectral_taste: Count = 100
    spectral_last: Count = 80
    vector_taste: Count = 100
    vector_last: Count = 60
    content_spectral: Count = 60
    content_taste: Count = 60
    words: Count = 60
    query: Count = 100
    popular: Count = 50
    fresh: Count = 30
    repeats: Count = 50


class Candidates(Table, frozen=True):
    """How much of a history speaks: its newest `transition_items` by transitions, `vector_items` by vectors and
    `content_items` by content, the n-th weighing n ** -`position_power`. An item with fewer than `fresh_below` positive
    engagements is fresh."""

    transition_items: AtLeast1 = 20
    vector_items: AtLeast1 = 50
    content_items: AtLeast1 = 20
    position_power: NotNegative = 0.7
    hop_items: AtLeast1 = 30
    fresh_below: Count = 5
    quotas: Quotas = Quotas()


class Ranking(Table, frozen=True):
    """The ranker: the newest `examples`, `first_engagements` of items and `impressions` that it is fitted to; the first
    fit comes after `first_fit` examples, then at each `refit_growth` more, at the latest after `refit_every`. The share
    `held_out` of the newest calibrates. Each example has up to `negatives` other candidates, and `cold_negatives` items
    that nobody has touched. Up to `open_impressions` answers wait for the end of their window."""

    examples: AtLeast1 = 30_000
    first_engagements: Count = 5_000
    impressions: Count = 5_000
    first_fit: AtLeast1 = 200
    refit_growth: Positive = 0.25
    refit_every: AtLeast1 = 5_000
    held_out: Share = 0.05
    trees: AtLeast1 = 300
    leaves: AtLeast2 = 31
    min_rows: AtLeast1 = 40
    learning_rate: Positive = 0.04
    truncation: AtLeast1 = 10
    negatives: AtLeast1 = 40
    cold_negatives: Count = 12
    open_impressions: AtLeast1 = 10_000


class Content(Table, frozen=True):
    """Content vectors: `encoder` is static (wordllama tables) or minilm; `widths` fixes those of given modalities."""

    encoder: str = "static"
    widths: dict[str, AtLeast1] = {}


class Codebook(Table, frozen=True):
    """Semantic IDs: `levels` codes, level l of `width / 2**l` when `halving`; learned from `learn_after_items` on.
    `refresh_on_drift`: the trainer refreshes the version by itself when fresh items fit it badly."""

    levels: Depth = 3
    width: AtLeast2 = 256
    halving: bool = False
    learn_after_items: AtLeast1 = 500
    refresh_on_drift: bool = True
    seed: Count = 0


class Model(Table, frozen=True):
    """The decoder: small enough to train and serve on two cores. `history`: items of a user that it reads."""

    layers: AtLeast1 = 3
    width: AtLeast1 = 128
    heads: AtLeast1 = 4
    text_vocabulary: AtLeast2 = 4096
    history: AtLeast1 = 100


class Training(Table, frozen=True):
    """When the trainer runs, and for how long it may. Whichever trigger comes first starts a run; the very first one
    waits for `first_engagements` only. A run learns for at most the share `run_share` of the time since the one before
    it, of `every_s` at most, and never longer than `max_seconds`. It reads at most about `max_engagements` new ones
    (the newest), and `lookback_engagements` from before them. `gate_floor`: part of popular's hits that a model must
    reach; `gate_min_events`: the smallest slice that decides; with fewer than `gate_least_events` in all nothing
    passes, nor a model whose answers cost a processor more than `gate_answer_ms`. With fewer than `gate_examples`
    ranking examples of what is held out the models alone decide, not what the system gains by them. For drift the
    newest `drift_window` live outcomes are compared with as many of the checkpoint's first. An example backfill gives
    the ranker examples that workers were too busy to make, from the newest `backfill_engagements` (0: none), of which
    up to `backfill_share` are ranked. `metrics_port` -1: no metrics face.
    """

    every_s: Positive = 4 * 3600.0
    every_engagements: Count = 100_000
    first_engagements: Count = 5_000
    min_engagements: Count = 200
    max_engagements: Count = 1_000_000
    lookback_engagements: Count = 100_000
    backfill_engagements: Count = 200_000
    backfill_share: Share = 0.3
    max_steps: AtLeast1 = 100_000
    epochs: Positive = 4.0
    drift_ratio: NotNegative = 0.7
    run_share: Share = 0.2
    max_seconds: Positive = 3600.0
    replay_ratio: NotNegative = 0.25
    gate_engagements: Count = 500
    gate_tolerance: Share = 0.05
    gate_floor: NotNegative = 0.25
    gate_min_events: Count = 50
    gate_least_events: Count = 20
    gate_answer_ms: Positive = 100.0
    gate_examples: Count = 50
    drift_window: AtLeast1 = 400
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 8471
    niceness: Niceness = 5
    threads: AtLeast1 = 1
    keep_checkpoints: AtLeast1 = 5
    seed: Count = 0


class Utility(Table, frozen=True):
    """What a shown line is worth: click · P(click) + completion · P(click) · P(completion) - negative · P(negative)."""

    click: float = 1.0
    completion: float = 0.25
    negative: float = 1.0


class Serving(Table, frozen=True):
    """The worker's HTTP face and the request path. A user's request is passed on to the worker that has the user, which
    answers within `peer_timeout_s`, or is done without. `watch_s`: how long a new checkpoint is on probation. The share
    `live_sample` of engagements is scored before they are learned from, as far as that takes no more than
    `live_sample_time` of the worker's time: the ranker learns from them, and some are the live metric. The lines of
    `impression_sample` of the answers are published for the ranker to learn from: an untouched one is a negative after
    `impression_window_s` of event time. The share
    `explore_share` of answers shows an item with fewer than `explore_below` engagements in its last place. With
    `repeats`, what the user has may be recommended again."""

    host: str = "127.0.0.1"
    port: Port = 8470
    advertise: str = ""
    beams: AtLeast1 = 24
    explore_share: Share = 0.1
    explore_below: Count = 5
    watch_s: NotNegative = 600.0
    rollback_ratio: NotNegative = 0.7
    live_sample: Share = 1.0
    live_sample_time: Share = 0.1
    peer_timeout_s: Positive = 1.0
    impression_sample: Share = 0.25
    impression_window_s: NotNegative = 1800.0
    repeats: bool = False
    utility: Utility = Utility()


class Freshness(Table, frozen=True):
    """Objectives: what `status` and the page hold the system to. The alert rules of `deploy/` hold it to the defaults
    of these."""

    upload_to_recommendable_s: Positive = 1.0
    engagement_to_embedding_s: Positive = 0.5
    model_data_age_s: Positive = 6 * 3600.0
    codebook_age_s: Positive = 14 * DAY_S
    input_lag_events: AtLeast1 = 10_000


class Settings(Table, frozen=True):
    """All settings. `data_dir` holds the worker's rows; `checkpoint_dir` is shared by trainer and workers."""

    data_dir: str = ".sidestream"
    checkpoint_dir: str = ""
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

    def topic(self, name: str) -> str:
        """The full name of one of the topics in docs/contracts.md."""
        return f"{self.kafka.topic_prefix}{name}"

    def event_limits(self) -> Limits:
        """The bounds that every event must keep."""
        return Limits(self.kafka.max_record_bytes, self.events.max_future_s, self.content.widths)

    def checkpoint_folder(self) -> Path:
        """Where checkpoints and codebooks lie; by default inside the data folder."""
        return Path(self.checkpoint_dir) if self.checkpoint_dir else Path(self.data_dir) / "checkpoints"
