"""Outages: a line when one begins, one a minute, one when it ends, however often the failure is met."""

from __future__ import annotations

import logging

import pytest

from store.reporting.outages import Outage

log = logging.getLogger("store.reporting.test")


def test_three_minutes_of_failures_are_five_lines(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    outage = Outage(log, "no broker answers", "nothing new is absorbed", clock=lambda: now)
    with caplog.at_level(logging.INFO, log.name):
        outage.over()
        assert caplog.records == []
        for second in range(181):
            now = float(second)
            for _ in range(10):
                outage.met("refused")
        assert outage.lasts
        outage.over()
        outage.over()
    assert not outage.lasts
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "no broker answers (refused): nothing new is absorbed"),
        ("WARNING", "no broker answers, for 60 s now (refused)"),
        ("WARNING", "no broker answers, for 120 s now (refused)"),
        ("WARNING", "no broker answers, for 180 s now (refused)"),
        ("INFO", "over after 180 s: no broker answers"),
    ]


def test_the_next_outage_is_told_anew(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(log, "it is away", "so what", clock=lambda: 5.0)
    with caplog.at_level(logging.INFO, log.name):
        for _ in range(2):
            outage.met("once")
            outage.over()
    assert len(caplog.records) == 4
