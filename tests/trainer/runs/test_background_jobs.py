"""Background jobs: polled now and then; one that fails is told of once, and the others go on."""

from __future__ import annotations

import logging

import pytest

from store.log import LogError
from trainer.runs.background_jobs import BackgroundJobs


class Job:
    def __init__(self, failure: str = "") -> None:
        self.failure, self.polled, self.closed = failure, 0, False

    def poll(self, now: float) -> None:
        self.polled += 1
        if self.failure:
            raise LogError(self.failure)

    def close(self) -> None:
        self.closed = True


def test_all_are_polled_but_not_at_every_call() -> None:
    first, second = Job("the topic is away"), Job()
    jobs = BackgroundJobs([first, second])
    for _ in range(3):
        jobs.poll()
    assert (first.polled, second.polled) == (1, 1)
    jobs.close()
    assert first.closed
    assert second.closed


def test_a_failure_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.runs.background_jobs._POLL_EVERY_S", 0.0)
    jobs = BackgroundJobs([Job("the topic is away")])
    with caplog.at_level(logging.WARNING, "sidestream.trainer"):
        jobs.poll()
        jobs.poll()
    assert caplog.messages == ["Job waits (the topic is away): it tries again"]
