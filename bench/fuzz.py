"""Bytes that nobody expects, for whoever reads bytes of others: `python -m bench.fuzz [--seconds 60] [--json]`.

Every decoder (`bench.fuzz_decoders`) and the embedded broker's socket (`bench.fuzz_broker`), each for its share of the
time. Prints how many inputs there were, taken or refused by name, how many crashed, the slowest, and by how much the
process grew. Status 1 if anything crashed, or held the others up for longer than `--slowest-ms`.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain, repeat
from pathlib import Path
from types import FrameType

from bench.fuzz_batches import BOMBS
from bench.fuzz_broker import ATTACKS, PATIENCE_S, Attacked, code_of, lengthened, produced
from bench.fuzz_bytes import mutations
from bench.fuzz_decoders import Target, decoders

HANG_S = 10.0
ADDRESS_SPACE = 3 << 30
"""What one input may allocate beyond what the process has: one that wants more is a crash, not a slow machine."""


class HungError(BaseException):
    """An input has held its decoder for `HANG_S`."""


@dataclass
class Tally:
    """What came of one target's inputs."""

    target: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    slowest_ms: float = 0.0
    grown_mb: float = 0.0
    first_crash: str = ""
    slowest_input: str = field(default="", repr=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="targets whose names hold this")
    parser.add_argument("--slowest-ms", type=float, default=2000.0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    tallies = fuzz(asked.seconds, asked.seed, asked.only)
    print(json.dumps([asdict(tally) for tally in tallies], indent=1) if asked.json else table(tallies))
    bad = [tally for tally in tallies if tally.crashes or tally.slowest_ms > asked.slowest_ms]
    for tally in bad:
        print(f"{tally.target}: {tally.first_crash or f'slow: {tally.slowest_input}'}", file=sys.stderr)
    return 1 if bad else 0


def fuzz(seconds: float, seed: int, only: str = "") -> list[Tally]:
    """All targets, each for its share; the same inputs for the same seed, as far as time lets them come."""
    with tempfile.TemporaryDirectory() as folder:
        targets = [target for target in decoders(Path(folder)) if only in target.name]
        attacks = [name for name in (*ATTACKS, "bombs") if only in f"socket: {name}"]
        share_s = seconds / max(1, len(targets) + 3 * len(attacks))
        with _bounded():
            tallies = [_fuzz_decoder(target, share_s, seed) for target in targets]
        return [*tallies, *(_fuzz_broker(Path(folder), attacks, 3 * share_s, seed) if attacks else ())]


# ---- decoders ----


def _fuzz_decoder(target: Target, seconds: float, seed: int) -> Tally:
    tally, before_mb = Tally(target.name), _peak_mb()
    end = time.monotonic() + seconds
    for value in mutations(target.seeds, random.Random(f"{seed} {target.name}")):
        if time.monotonic() > end and tally.inputs >= len(target.seeds):
            break
        _try(target, value, tally)
    tally.grown_mb = round(_peak_mb() - before_mb, 1)
    return tally


def _try(target: Target, value: bytes, tally: Tally) -> None:
    tally.inputs += 1
    began = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        if target.act(value):
            tally.accepted += 1
        else:
            tally.refused += 1
    except target.refusals:
        tally.refused += 1
    except (Exception, HungError) as error:
        tally.crashes += 1
        tally.first_crash = tally.first_crash or f"{error!r:.300} of {value!r:.300}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    took_ms = round(1000 * (time.perf_counter() - began), 1)
    if took_ms > tally.slowest_ms:
        tally.slowest_ms, tally.slowest_input = took_ms, f"{len(value)} bytes: {value!r:.100}"


@contextmanager
def _bounded() -> Iterator[None]:
    """A hang ends by itself, and an allocation without bounds fails."""

    def hung(_: int, __: FrameType | None) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, hung)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + ADDRESS_SPACE, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
        signal.signal(signal.SIGALRM, before)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ---- the broker ----


def _fuzz_broker(folder: Path, attacks: list[str], seconds: float, seed: int) -> Iterator[Tally]:
    for number, name in enumerate(attacks):
        attacked = Attacked(folder / f"broker-{number}")
        try:
            yield _attack(attacked, name, seconds, random.Random(f"{seed} {name}"))
        finally:
            attacked.stop()


def _attack(attacked: Attacked, name: str, seconds: float, chance: random.Random) -> Tally:
    tally, end = Tally(f"socket: {name}"), time.monotonic() + seconds
    before_mb = attacked.broker.resident_mb()
    for what, pieces in _inputs(name, chance):
        if time.monotonic() > end and name != "bombs":
            break
        sent = max(1, len(pieces)) if name != "requests in pieces" else 1
        answers, waited_s = attacked.by(pieces, 60.0 if name == "bombs" else 0.25)
        taken = len([each for each in answers[:sent] if name != "bombs" or not code_of(each)])
        tally.inputs += sent
        tally.accepted += taken
        tally.refused += sent - taken
        if waited_s is None:
            tally.crashes, tally.refused = tally.crashes + 1, tally.refused - sent
            tally.first_crash = tally.first_crash or f"nobody was answered for {PATIENCE_S:g} s after: {what}"
        elif 1000 * waited_s > tally.slowest_ms:
            tally.slowest_ms, tally.slowest_input = round(1000 * waited_s, 1), what
        tally.grown_mb = max(tally.grown_mb, round(attacked.broker.resident_mb("VmHWM") - before_mb, 1))
    found = attacked.faults()
    tally.crashes, tally.first_crash = tally.crashes + len(found), tally.first_crash or (found[0] if found else "")
    return tally


def _inputs(name: str, chance: random.Random) -> Iterator[tuple[str, list[bytes]]]:
    if name == "bombs":
        for what, made in BOMBS.items():
            yield what, [lengthened(produced(made()))]
        return
    attack = ATTACKS[name]
    yield from ((name, attack(chance)) for _ in chain(repeat(None)))


# ---- the table ----


def table(tallies: list[Tally]) -> str:
    """As it stands in docs/log."""
    heading = ["target", "inputs", "accepted", "refused", "crashes", "slowest ms", "grown MB"]
    figures = [(t.inputs, t.accepted, t.refused, t.crashes) for t in tallies]
    lines = [
        f"| {t.target} | {' | '.join(f'{n:,}' for n in counts)} | {t.slowest_ms} | {t.grown_mb} |"
        for t, counts in zip(tallies, figures, strict=True)
    ]
    return "\n".join([f"| {' | '.join(heading)} |", "|---" + "|--:" * 6 + "|", *lines])


if __name__ == "__main__":
    sys.exit(main())
