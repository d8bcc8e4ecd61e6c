"""The oracle: what one thread that reads the log once believes. Written apart from the code that it judges."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Oracle:
    """Histories and counters from engagement records in the order of each partition."""

    window: int = 128
    histories: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def read(self, values: Iterable[bytes]) -> None:
        for value in values:
            record = json.loads(value)
            for event in record.get("events", [record]):
                history = self.histories[event["user_id"]]
                if event["event_id"] in history[-self.window :]:
                    continue
                history.append(event["event_id"])
                self.counters[event["item_id"]][event["kind"]] += 1
