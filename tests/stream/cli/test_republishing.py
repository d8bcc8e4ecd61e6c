"""`sidestream republish` where nobody answers. What workers do: tests/stream/client/test_republication.py."""

from __future__ import annotations

from tests.stream.conftest import Run


def test_it_asks_and_says_when_nobody_answers(on_broker: Run) -> None:
    ran = on_broker("republish", "--timeout", "2", "--json")
    assert ran.status == 1
    assert "start workers" in ran.document["error"]
    assert "0 of 12 partitions" in on_broker("republish", "--timeout", "2").err
