"""The outcomes of a replay as one checksum: the same before and after a refactor, byte for byte.

    python -m bench.replay_outcomes DIR [--engagements 8000] [--sample 1000] [--out FILE] [--json]

Replays the first engagements of a recorded stream and prints a SHA-256 over all that was measured of them: every
evaluated engagement (ranks, source, candidates, baselines) and every rank of a cold or fresh item among its kind, with
the settings' defaults but for `events.completed`, which is empty. Two outputs written with `--out` show by `diff` where
they part. The checksum depends on the versions of numpy and LightGBM.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import time
from pathlib import Path

from store.events import Engagement, Upload
from store.settings import settings_from
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import Replay, ReplayOptions
from trainer.evaluation.recorded_streams import read_events


def outcomes_of(folder: Path, engagements: int, sample: int) -> str:
    """All that a replay of the stream's beginning measures, as JSON."""
    events = read_events(folder, "engagements", Engagement)[:engagements]
    uploads = [one for one in read_events(folder, "uploads", Upload) if one.uploaded_at <= events[-1].occurred_at]
    encoder = text_encoder("static")
    settings = settings_from({"events": {"completed": {}}})
    options = ReplayOptions(sample=sample)
    replay = Replay(uploads, events, encoder, options, settings)
    result = replay.run()
    return json.dumps([[dataclasses.astuple(one) for one in some] for some in (result.evaluated, result.within)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--engagements", type=int, default=8000)
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="where to write the outcomes themselves")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    began = time.perf_counter()
    document = outcomes_of(asked.folder, asked.engagements, asked.sample)
    if asked.out is not None:
        asked.out.write_text(document.replace("], [", "],\n["))
    found = {
        "stream": asked.folder.name,
        "engagements": asked.engagements,
        "sample": asked.sample,
        "sha256": hashlib.sha256(document.encode()).hexdigest(),
        "took_s": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(found) if asked.json else "\n".join(f"{name:12} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
