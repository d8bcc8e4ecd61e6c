"""The judge of `bench.bounces`: what was sent, against what the state topics say in the end.

It knows nothing of the protocol: an engagement that was sent, once or twice, counts once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from store.settings import Settings
from tests.chaos.workers import published_counters, published_histories

Sent = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Absorbed:
    """`absorbed`: engagements that items have counted. `lost` and `doubled`: those that items have counted too few or
    too often, and those that users' windows lack, or have beside what belongs there."""

    absorbed: int
    lost: int
    doubled: int

    @property
    def is_exact(self) -> bool:
        return not self.lost and not self.doubled


def judge(sent: Sent, settings: Settings) -> Absorbed:
    """Reads the state topics and compares them with what was sent."""
    return compare(sent, published_counters(settings), published_histories(settings), settings.store.history_length)


def compare(
    sent: Sent, counters: Mapping[str, Counter[str]], histories: Mapping[str, Sequence[str]], window: int
) -> Absorbed:
    """`sent` in the order in which each user's engagements were first sent."""
    wanted: Counter[object] = Counter((event["item_id"], event["kind"]) for event in sent)
    counted: Counter[object] = Counter({(i, kind): n for i, kinds in counters.items() for kind, n in kinds.items()})
    by_user: dict[object, list[str]] = defaultdict(list)
    for event in sent:
        by_user[event["user_id"]].append(str(event["event_id"]))
    windows = _places((user, events[-window:]) for user, events in by_user.items())
    remembered = _places((user, events[-window:]) for user, events in histories.items())
    return Absorbed(
        absorbed=counted.total(),
        lost=(wanted - counted).total() + (windows - remembered).total(),
        doubled=(counted - wanted).total() + (remembered - windows).total(),
    )


def _places(windows: Iterable[tuple[object, Sequence[str]]]) -> Counter[object]:
    """Each entry with its place from the end, so that order counts."""
    return Counter((user, place, event) for user, events in windows for place, event in enumerate(reversed(events)))
