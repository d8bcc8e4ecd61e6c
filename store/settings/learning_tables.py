"""The tables of the settings that say what is learned, and how: items, candidates, ranking, codes, model, training."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from store.settings.ranges import (
    DAY_S,
    AtLeast1,
    AtLeast2,
    Count,
    Depth,
    Niceness,
    NotNegative,
    Port,
    Positive,
    Share,
    Table,
    Width,
)


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

    encoder: Literal["static", "minilm"] = "static"
    widths: dict[str, AtLeast1] = field(default_factory=dict)


class Codebook(Table, frozen=True):
    """Semantic IDs: `levels` codes, each of up to `width`, level l of `width / 2**l` when `halving` (fewer while the
    catalogue has no use for so many); learned from `learn_after_items` on. `refresh_on_drift`: the trainer refreshes
    the version by itself when fresh items fit it badly, and trains another when the catalogue has outgrown it."""

    levels: Depth = 3
    width: AtLeast2 = 256
    halving: bool = False
    learn_after_items: AtLeast1 = 500
    refresh_on_drift: bool = True
    seed: Count = 0


class Model(Table, frozen=True):
    """The decoder: small enough to train and serve on two cores. `history`: items of a user that it reads. `item_rows`:
    rows of the table of items' own vectors, found by a hash of their id (0: an item is its codes, content and published
    vector only)."""

    layers: AtLeast1 = 3
    width: AtLeast1 = 128
    heads: AtLeast1 = 4
    text_vocabulary: AtLeast2 = 4096
    history: AtLeast1 = 100
    item_rows: Count = 16_384


class Training(Table, frozen=True):
    """When the trainer runs, and for how long it may. Whichever trigger comes first starts a run; the very first one
    waits for `first_engagements` only. A run learns for at most the share `run_share` of the time since the one before
    it, of `every_s` at most, and never longer than `max_seconds`. Every `keep_state_s` it keeps its state, from which
    the next trainer goes on if this one is killed. It reads at most about `max_engagements` new ones (the newest), and
    `lookback_engagements` from before them. `gate_floor`: part of popular's hits that a model must reach;
    `gate_min_events`: the smallest slice that decides; with fewer than `gate_least_events` in all nothing
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
    keep_state_s: NotNegative = 60.0
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
