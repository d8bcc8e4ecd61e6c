"""Quix Streams on the records of `bench.path`: decode, and one durable counter per user. Nothing else.

    PYTHON bench/quix_counts.py BOOTSTRAP_SERVERS TOPIC STATE_FOLDER

Runs in an environment of its own (`pip install quixstreams`); prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any

from quixstreams import Application, State


def main() -> None:
    servers, name, folder = sys.argv[1:]
    app = Application(
        broker_address=servers,
        consumer_group=f"quix-{time.time_ns()}",
        auto_offset_reset="earliest",
        state_dir=folder,
        commit_interval=1.0,
        loglevel="ERROR",
    )
    topic = app.topic(name, key_deserializer="bytes", value_deserializer="bytes")
    seen = 0
    began = ended = 0.0

    def count(value: bytes, state: State) -> Any:
        nonlocal seen, began, ended
        began = began or time.perf_counter()
        events = json.loads(value)["events"]
        for user, number in Counter(event["user_id"] for event in events).items():
            state.set(user, state.get(user, 0) + number)
        seen += len(events)
        ended = time.perf_counter()
        return value

    frame = app.dataframe(topic)
    frame.update(count, stateful=True)
    before = time.process_time()
    app.run(timeout=5.0)
    spent = time.process_time() - before
    print(
        json.dumps(
            {
                "events": seen,
                "events/s": round(seen / max(ended - began, 1e-9)),
                "events per CPU second": round(seen / spent),
                "cpu_s": round(spent, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
