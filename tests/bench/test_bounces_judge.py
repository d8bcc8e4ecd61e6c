"""The judge of bounces sees what is lost, what is doubled and what is out of place, and nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from bench.bounces_judge import Absorbed, compare

SENT = [
    {"event_id": f"e{n}", "user_id": f"u{n % 2}", "item_id": f"i{n % 3}", "kind": "click" if n % 4 else "like"}
    for n in range(12)
]


def counted(events: list[dict[str, str]]) -> dict[str, Counter[str]]:
    counters: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        counters[event["item_id"]][event["kind"]] += 1
    return counters


def remembered(events: list[dict[str, str]]) -> dict[str, list[str]]:
    histories: dict[str, list[str]] = defaultdict(list)
    for event in events:
        histories[event["user_id"]].append(event["event_id"])
    return histories


@pytest.mark.parametrize(
    ("by_items", "by_users", "found"),
    [
        (SENT, SENT, Absorbed(12, 0, 0)),
        (SENT[1:], SENT, Absorbed(11, 1, 0)),
        ([*SENT, SENT[3]], SENT, Absorbed(13, 0, 1)),
        ([*SENT[1:], SENT[3]], SENT, Absorbed(12, 1, 1)),
        (SENT, SENT[:-1], Absorbed(12, 4, 4)),  # one is missing: each place of that user's window has another entry
        (SENT, [*SENT, SENT[-1]], Absorbed(12, 3, 3)),
        (SENT, [SENT[2], SENT[1], SENT[0], *SENT[3:]], Absorbed(12, 0, 0)),  # before the window
        (SENT, [*SENT[:-3], SENT[-1], SENT[-2], SENT[-3]], Absorbed(12, 2, 2)),  # out of order
        ([], [], Absorbed(0, 20, 0)),
    ],
)
def test_each_difference_is_counted(
    by_items: list[dict[str, str]], by_users: list[dict[str, str]], found: Absorbed
) -> None:
    assert compare(SENT, counted(by_items), remembered(by_users), window=4) == found


def test_only_nothing_lost_and_nothing_doubled_is_exact() -> None:
    assert Absorbed(12, 0, 0).is_exact
    assert not Absorbed(12, 1, 0).is_exact
    assert not Absorbed(12, 0, 1).is_exact
