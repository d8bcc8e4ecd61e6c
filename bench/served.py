"""What is served, beside what replay measures: a recorded stream through Kafka and HTTP, and through `Replay`.

    python -m bench.served DIR [--moments 300] [--begin 0.75] [--rate 0] [--wait 600] [--json] [--no-replay]

Starts a whole system (`sidestream up`) in a temporary folder, publishes the stream in event order up to `--begin` of
its engagements, and waits until a ranker serves that rests on a twentieth of them. From there on, at each sampled
moment, everything before it is published and felt before the user is asked for. Printed are the hits of both on the
same moments, the share of the ten items that are the same, and which rankers answered. Both rankers learn on their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.served_stream import ServedStream
from store.events import Engagement, Upload
from store.settings import Settings, load_settings
from stream.cli.arguments.system import find_system
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import Replay, ReplayOptions
from trainer.evaluation.recorded_streams import evaluable_places, read_events, sample_places
from trainer.evaluation.report import measure

READY_S = 90.0


@dataclass
class Asked:
    """What was answered at each moment; the rankers that answered, with the moment from which on they did."""

    tops: list[list[str]] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    rankers: dict[str, int] = field(default_factory=dict)
    published_s: float = 0.0
    waited_s: float = 0.0
    explored: int = 0

    def ranks(self, wanted: Sequence[str]) -> list[int]:
        return [top.index(item) if item in top else -1 for top, item in zip(self.tops, wanted, strict=True)]


def start(folder: Path) -> tuple[subprocess.Popen[str], Settings, str]:
    """A whole system, and where it answers."""
    anywhere = ["--web-port", "0", "--broker-port", "0"]
    command = [sys.executable, "-m", "stream.cli", "up", "--data-dir", str(folder), *anywhere]
    system = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert system.stdout is not None
    if not system.stdout.readline().startswith("ready"):
        raise SystemExit(f"the system did not start: see {folder}/logs")
    found = find_system(folder)
    return system, found.settings, found.url


def ask(stream: ServedStream, places: Sequence[int], options: argparse.Namespace) -> Asked:
    """Publishes and asks, moment after moment."""
    asked, began = Asked(), time.perf_counter()
    first = int(len(stream.engagements) * options.begin)
    stream.reach(first, rate=options.rate, told=lambda place: _tell(f"published {place:,}"))
    asked.published_s = time.perf_counter() - began
    _tell(f"published {first:,} in {asked.published_s:.1f} s")
    asked.waited_s = settle(stream, min(10_000, first // 20), options.wait)
    for number, place in enumerate(places):
        stream.reach(place)
        began = time.perf_counter()
        answer = stream.top(place, options.k)
        asked.took_s.append(time.perf_counter() - began)
        asked.tops.append([item.item_id for item in answer.items])
        asked.explored += any(item.source == "explore" for item in answer.items)
        asked.rankers.setdefault(stream.client.status()["ranker"], number)
        if number % 50 == 49:
            hits = measure(asked.ranks([stream.engagements[p].item_id for p in places[: number + 1]]), options.k)
            _tell(f"{number + 1} moments, hr@{options.k} {hits[f'hr@{options.k}']:.3f}, rankers {list(asked.rankers)}")
    return asked


def settle(stream: ServedStream, examples: int, most_s: float) -> float:
    """Waits until the ranker rests on so many examples; the seconds that it took."""
    began, name = time.monotonic(), ""
    while not (name.isdigit() and int(name) >= examples) and time.monotonic() - began < most_s:
        time.sleep(1.0)
        if (now := str(stream.client.status()["ranker"])) != name:
            name = now
            _tell(f"ranker {name} after {time.monotonic() - began:.0f} s")
    return time.monotonic() - began


def replayed(
    uploads: list[Upload], engagements: list[Engagement], places: Sequence[int], options: Any
) -> list[list[str]]:
    """What `Replay` would serve at the same moments."""
    settings = load_settings()
    encoder = text_encoder(settings.content.encoder)
    chosen = ReplayOptions(sample=0, within_limit=0, baselines=False, k=options.k)
    replay = Replay(uploads, engagements, encoder, chosen, settings)
    wanted, tops = set(places), []
    for place in replay.steps():
        if place in wanted:
            tops.append([item.item_id for item in replay.top(place).items])
        if place % 5000 == 0:
            _tell(f"replayed {place:,} of {len(engagements):,}")
        if len(tops) == len(wanted):
            break
    return tops


def figures(asked: Asked, tops: list[list[str]], wanted: Sequence[str], k: int) -> dict[str, Any]:
    """Hits of both, and how alike they are."""
    served = measure(asked.ranks(wanted), k)
    found: dict[str, Any] = {
        "moments": len(wanted),
        "served": {name: served[name] for name in (f"hr@{k}", f"hr@{k}_interval", f"ndcg@{k}")},
        "answers that explored": asked.explored,
        "answer p50 ms": round(1000 * sorted(asked.took_s)[len(asked.took_s) // 2], 1),
        "published and felt in s": round(asked.published_s, 1),
        "waited for a ranker, s": round(asked.waited_s, 1),
        "rankers from moment": asked.rankers,
    }
    if tops:
        both = measure(Asked(tops).ranks(wanted), k)
        alike = [len(set(one) & set(other)) / k for one, other in zip(asked.tops, tops, strict=True)]
        found["replay"] = {name: both[name] for name in (f"hr@{k}", f"hr@{k}_interval", f"ndcg@{k}")}
        found[f"overlap@{k}"] = sum(alike) / len(alike)
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.served", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="uploads.jsonl[.gz] and engagements.jsonl[.gz]")
    parser.add_argument("--engagements", type=int, help="only so many of the first; by default all")
    parser.add_argument("--moments", type=int, default=300)
    parser.add_argument("--begin", type=float, default=0.75, help="share of the engagements that is published at once")
    parser.add_argument("--rate", type=float, default=0.0, help="engagements a second of that; 0: as fast as it goes")
    parser.add_argument("--wait", type=float, default=600.0, help="seconds to wait for a ranker, at most")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-replay", action="store_true", help="only what is served")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    uploads, engagements = (
        read_events(options.folder, "uploads", Upload),
        read_events(options.folder, "engagements", Engagement),
    )
    engagements = engagements[: options.engagements]
    can = evaluable_places(uploads, engagements, load_settings().events.weights, evaluated_from=options.begin)
    places = sorted(sample_places(engagements, can, options.moments, options.seed))
    with tempfile.TemporaryDirectory() as folder:
        system, settings, url = start(Path(folder))
        try:
            stream = ServedStream(uploads, engagements, settings, url)
            asked = ask(stream, places, options)
            stream.close()
        finally:
            system.terminate()
            system.wait(30)
    tops = [] if options.no_replay else replayed(uploads, engagements, places, options)
    found = figures(asked, tops, [engagements[place].item_id for place in places], options.k)
    print(json.dumps(found, indent=None if options.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
