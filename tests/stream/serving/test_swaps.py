"""Swaps on a real broker with a trained checkpoint: what a rollback tells the others, and what cannot be read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from prometheus_client import generate_latest

from store.checkpoints import CHECKPOINT_KEY, RANKER_KEY, CheckpointRecord, Manifest
from store.histories import UserRow
from store.settings import Settings
from stream.kafka.emitter import Emitter
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from stream.serving.scorer import Scorer
from stream.serving.swaps import Swaps
from stream.serving.watching import asking
from stream.serving.watching.harm import LEAST_COSTS
from stream.serving.watching.probation import ProbationReport
from tests.clusters import EmbeddedCluster
from tests.small_world import World
from tests.stream.log import read_topic, settings_on
from tests.stream.serving.test_scorer import Told
from tests.trainer.runs.test_training_run import run
from tests.trainer.runs.test_training_run import settings as training_settings
from tests.trainer.walkers import Walkers, reversed_checkpoint
from tests.trainer.worlds import stream
from trainer.content.encoders import text_encoder
from trainer.examples import RankedEngagement
from trainer.model_bundle import NEWEST, NO_CHECKPOINT
from trainer.ranking.columns import COLUMNS
from trainer.ranking.example import Example
from trainer.recommender import Recommender

POINTS = ["rolled_back"]


@pytest.fixture(autouse=True)
def _all_of_the_time_for_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SHARE", 1.0)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return folder, run(folder, training_settings()).manifest


def offer(folder: Path, manifest: Manifest, checkpoint: str, published_at: float) -> CheckpointRecord:
    return CheckpointRecord(
        checkpoint=checkpoint,
        parent="their-parent",
        location=str(folder / manifest.checkpoint),
        verdict="promoted",
        action="promote",
        published_at=published_at,
        codebook=manifest.codebook,
        data_until=5.0,
    )


def swaps_of(settings: Settings, emitter: Emitter, recommender: Recommender | None = None) -> Swaps:
    return Swaps(settings, metrics=Metrics(), emitter=emitter, recommender=recommender or World().recommender)


def on_log(record: Any, key: bytes = CHECKPOINT_KEY) -> Any:
    """A record as the broadcast brings it."""
    value = record if isinstance(record, bytes) else msgspec.json.encode(record)
    return SimpleNamespace(key=key, value=value, partition=0, offset=7)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def following(
    settings: Settings, offers: list[CheckpointRecord], recommender: Recommender | None = None
) -> AsyncIterator[Swaps]:
    """Swaps at work that serve the last of the offers."""
    emitter = Emitter(settings)
    await emitter.start()
    swaps = swaps_of(settings, emitter, recommender)
    caught_up = asyncio.Event()
    caught_up.set()
    running = asyncio.create_task(swaps.run(caught_up))
    for each in offers:
        swaps.on_checkpoint(on_log(each))
        await until(lambda each=each: swaps.serving.checkpoint == each.checkpoint)
    yield swaps
    running.cancel()
    await emitter.stop()
    swaps.close()


async def serve_and_fail(settings: Settings, offers: list[CheckpointRecord]) -> tuple[Swaps, CheckpointRecord]:
    """Follows the offers; the model of the last one fails. Returns the record that the scorer then sends."""
    async with following(settings, offers) as swaps:
        swaps.serving.asked = swaps.serving.failures = 20
        await until(lambda: swaps.serving.checkpoint != offers[-1].checkpoint)
        await asyncio.sleep(0.5)
    record = read_topic(settings, "checkpoints")[-1]
    assert record.key == CHECKPOINT_KEY
    return swaps, msgspec.json.decode(record.value, type=CheckpointRecord)


def test_a_rollback_names_what_is_true_of_the_checkpoint_that_returns(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest]
) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "swaps-back.")
    create_topics(settings)
    first, second = (offer(*manifest, name, at) for name, at in (("first", 10.0), ("second", 20.0)))
    began = time.time()
    swaps, told = asyncio.run(serve_and_fail(settings, [first, second]))
    assert told.published_at >= began
    assert told == msgspec.structs.replace(
        first, action="rollback", published_at=told.published_at, reason="the model failed 20 of 20 requests"
    )
    assert swaps.serving.published_at == 10.0, "a checkpoint is as old as its first announcement"


def test_a_model_whose_answers_cost_too_much_goes_and_the_watch_counts_it(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest]
) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "swaps-slow.")
    create_topics(settings)

    async def served() -> Swaps:
        async with following(settings, [offer(*manifest, "first", 10.0), offer(*manifest, "slow", 20.0)]) as swaps:
            swaps.serving._costs_s.extend([0.15] * LEAST_COSTS)
            await until(lambda: swaps.serving.checkpoint == "first")
            await swaps._follow()
            assert swaps.serving.checkpoint == "first", "it is not loaded again before the others have heard of it"
            await until(lambda: "an answer takes 150 ms of a processor, more than 100" in swaps.note)
        return swaps

    text = generate_latest(asyncio.run(served())._metrics.registry).decode()
    assert 'sidestream_watch_rollbacks_total{cause="cost"} 1.0' in text
    assert 'sidestream_watch_rollbacks_total{cause="hits"} 0.0' in text


def test_a_rollback_to_no_checkpoint_claims_no_verdict(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest]
) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "swaps-none.")
    create_topics(settings)
    _, told = asyncio.run(serve_and_fail(settings, [offer(*manifest, "first", 10.0)]))
    assert (told.checkpoint, told.parent, told.location) == (NO_CHECKPOINT, None, "")
    assert (told.action, told.verdict) == ("rollback", "pending")


def test_a_checkpoint_that_is_loaded_after_a_rollback_is_as_old_as_its_offer(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest]
) -> None:
    """A worker that starts after a rollback reads both records: the age must not begin with the second."""
    settings = settings_on(embedded_broker.bootstrap_servers, "swaps-age.")
    create_topics(settings)
    first = offer(*manifest, "first", 10.0)
    returned = msgspec.structs.replace(first, action="rollback", published_at=500.0)

    async def follow() -> float:
        emitter = Emitter(settings)
        swaps = swaps_of(settings, emitter)
        swaps.on_checkpoint(on_log(first))
        swaps.on_checkpoint(on_log(returned))
        caught_up = asyncio.Event()
        caught_up.set()
        following = asyncio.create_task(swaps.run(caught_up))
        await until(lambda: swaps.serving.checkpoint == "first")
        following.cancel()
        swaps.close()
        return swaps.serving.published_at

    # A verdict that needs a promotion does not serve by a rollback: the folder's own one is "passed" here.
    assert manifest[1].verdict == "passed"
    assert asyncio.run(follow()) == 10.0


def test_a_rollback_that_was_killed_before_anybody_heard_of_it_is_made_again(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crash point `rolled_back`: the next start serves what the log says, and finds out by itself."""
    settings = settings_on(embedded_broker.bootstrap_servers, "swaps-killed.")
    create_topics(settings)
    offers = [offer(*manifest, name, at) for name, at in (("first", 10.0), ("second", 20.0))]

    class KilledError(Exception):
        pass

    def killed(point: str) -> None:
        if point == "rolled_back":
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("stream.serving.swaps.reached", killed)
        with pytest.raises(IndexError):  # nothing is on the log
            asyncio.run(serve_and_fail(settings, offers))
    swaps, told = asyncio.run(serve_and_fail(settings, offers))
    assert (swaps.serving.checkpoint, told.checkpoint, told.action) == ("first", "first", "rollback")


@pytest.mark.parametrize("key", [CHECKPOINT_KEY, RANKER_KEY])
def test_a_record_that_is_none_is_passed_over(key: bytes) -> None:
    async def take() -> dict[str, Any]:
        settings = Settings()
        swaps = swaps_of(settings, Emitter(settings))
        swaps.on_checkpoint(on_log(b'{"not": "one"}', key))
        swaps.close()
        return dict(swaps.records)

    assert asyncio.run(take()) == {}


def test_while_nothing_serves_the_one_before_an_announcement_that_lies_nowhere_does(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest]
) -> None:
    """A foreign record, or a folder that somebody removed: a restart must not forget the checkpoint that served."""
    settings = settings_on(embedded_broker.bootstrap_servers, "swaps-former.")

    async def follow() -> tuple[str, int]:
        swaps = swaps_of(settings, Emitter(settings))
        swaps.on_checkpoint(on_log(offer(*manifest, "first", 10.0)))
        nowhere = msgspec.structs.replace(offer(*manifest, "second", 11.0), location="/nowhere/second")
        swaps.on_checkpoint(on_log(nowhere))
        caught_up = asyncio.Event()
        caught_up.set()
        following = asyncio.create_task(swaps.run(caught_up))
        await until(lambda: swaps.serving.checkpoint == "first")
        swaps.on_checkpoint(on_log(b'{"ranker": "9", "location": "/dev/zero", "published_at": 1}', RANKER_KEY))
        await asyncio.sleep(0.3)
        following.cancel()
        swaps.close()
        return swaps.serving.checkpoint, len(swaps.records)

    assert asyncio.run(follow()) == ("first", 2)


def seen(swaps: Swaps, ranked: RankedEngagement, number: int) -> bool:
    """Whether the watch has taken in so many engagements, this one the last; it leaves out what it has no time for."""
    if swaps._asking is None:
        return True
    if not swaps._asking.take():
        return False
    if swaps._asking.probation.report().engagements < number:
        swaps.watch(ranked)
        return False
    return True


async def watched(settings: Settings, folder: Path, offers: list[CheckpointRecord]) -> tuple[Swaps, Walkers, str]:
    """Follows the offers, while users of the tiny world engage; returns what the scorer says about the end of it."""
    walkers = Walkers()
    async with following(settings, offers, walkers.recommender) as swaps:
        for number, ranked in enumerate(walkers.ranked(15, 5), start=1):
            await until(partial(seen, swaps, ranked, number))
        told = "" if swaps.probation is None else str(swaps.probation.report())
        await asyncio.sleep(1.2)  # the watch looks every second
    return swaps, walkers, told


@pytest.mark.parametrize("first", [False, True])
def test_a_model_whose_own_proposals_are_bad_is_rolled_back_though_the_gate_has_passed_it(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest], first: bool
) -> None:
    """Beside the one before, and, where there is none, beside popularity."""
    settings = settings_on(embedded_broker.bootstrap_servers, f"swaps-bad-{first}.")
    create_topics(settings)
    good = offer(*manifest, "good", 10.0)
    copy = reversed_checkpoint(manifest[0], manifest[1].checkpoint, f"reversed-{first}")
    bad = msgspec.structs.replace(offer(*manifest, "bad", 20.0), location=str(copy))
    swaps, _, told = asyncio.run(watched(settings, manifest[0], [bad] if first else [good, bad]))
    assert swaps.serving.checkpoint == (NO_CHECKPOINT if first else "good"), told
    assert "the first ten of its own proposals hit" in swaps.note
    assert swaps.probation is None, "what is known is not watched again"
    record = msgspec.json.decode(read_topic(settings, "checkpoints")[-1].value, type=CheckpointRecord)
    assert (record.action, record.reason in swaps.note) == ("rollback", True)


def test_a_model_that_is_as_good_as_the_one_before_stays(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest]
) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "swaps-good.")
    create_topics(settings)
    offers = [offer(*manifest, "first", 10.0), offer(*manifest, "second", 20.0)]
    swaps, _, told = asyncio.run(watched(settings, manifest[0], offers))
    assert swaps.serving.checkpoint == "second", told
    assert swaps.probation is not None
    assert swaps.probation.report().engagements == 60


@pytest.mark.parametrize("took_s", [0.01, 0.4])
def test_what_the_scorer_ranks_for_its_live_metric_is_asked_of_a_model_on_probation(
    embedded_broker: EmbeddedCluster, manifest: tuple[Path, Manifest], took_s: float
) -> None:
    """Apart from the event loop, which itself asks only one that is quick: it would wait for it."""
    settings = settings_on(embedded_broker.bootstrap_servers, "swaps-live.")

    async def engaged() -> tuple[Example, ProbationReport | None]:
        emitter = Emitter(settings)
        scorer = Scorer(settings, metrics=Metrics(), encoder=text_encoder("static"), emitter=emitter, owners=Told([]))
        Walkers(scorer.recommender)
        caught_up = asyncio.Event()
        caught_up.set()
        following = asyncio.create_task(scorer.swaps.run(caught_up))
        scorer.swaps.on_checkpoint(on_log(offer(*manifest, "first", 10.0)))
        await until(lambda: scorer.swaps.serving.checkpoint == "first")
        scorer.swaps.serving._took_s.extend([took_s] * NEWEST)
        value = scorer.examples.examine(stream(1, 1)[0], UserRow)
        assert scorer.swaps._asking is not None
        await until(scorer.swaps._asking.take)
        following.cancel()
        scorer.close()
        assert value is not None
        report = None if scorer.swaps.probation is None else scorer.swaps.probation.report()
        return msgspec.msgpack.decode(value, type=Example), report

    example, report = asyncio.run(engaged())
    assert report is not None
    assert report.engagements == 1
    x_AF = np.frombuffer(example.features, "<f2").reshape(len(example.items), example.columns)
    assert np.isnan(x_AF[:, COLUMNS["model_score"]]).all() == (took_s > 0.1)
