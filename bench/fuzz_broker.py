"""The embedded broker under fire: a process of its own, asked over its socket what no client asks.

Requests of every kind and version that it speaks, filled with fields that fit or do not; cut off, mutated, with lengths
that are lies, in pieces across connections; batches that unpack to far more than they are. A client that behaves asks
beside all that, and its longest wait is what the others cost.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.fuzz_batches import batch
from bench.fuzz_bytes import CHANGES
from stream.broker.protocol import API_VERSIONS, APIS

TOPICS = ("fuzz", "fuzz", "fuzz", "compact", "nobody", "", "x" * 300, "ü/..", "\x00", None)
GROUPS = ("g", "g", "h", "", "🍞" * 5000, None)
NUMBERS = (0, 0, 1, 2, 3, -1, -2, 5000, 2**31 - 1, -(2**31))
PATIENCE_S = 20.0
"""So long a client that behaves waits for an answer."""

# ---- requests ----


def frames(chance: random.Random | None = None) -> list[bytes]:
    """A request of each kind and version, as it follows its length."""
    chance = chance or random.Random(0)
    return [frame(key, v, chance) for key, api in APIS.items() for v in range(api.oldest, api.newest + 1)]


def frame(key: int, version: int, chance: random.Random) -> bytes:
    """One request; its fields fit their types, seldom more."""
    made = _filled(APIS[key].request, APIS[key].request._struct, version, chance)
    made.API_VERSION = version
    made.with_header(correlation_id=chance.randrange(1 << 31), client_id=chance.choice(("fuzz", "ü" * 9000, "")))
    return bytes(made.encode(header=True))


def _filled(kind: Any, schema: Any, version: int, chance: random.Random) -> Any:
    made = kind()
    for field in schema.untagged_fields(version):
        setattr(made, field.name, _value(field, version, chance))
    return made


def _value(field: Any, version: int, chance: random.Random) -> Any:
    if field.is_struct_array():
        return [_filled(field.data_class, field, version, chance) for _ in range(chance.choice((0, 1, 1, 1, 3)))]
    kind = field.type_str
    if kind.startswith("[]"):
        choices: dict[str, Sequence[Any]] = {"[]string": TOPICS[:9], "[]int32": NUMBERS}
        some = choices.get(kind)
        return [chance.choice(some) for _ in range(chance.choice((0, 1, 2)))] if some else []
    return _simple(kind, field.name, chance)


def _simple(kind: str, name: str, chance: random.Random) -> Any:
    if kind == "string":
        if name in ("transactional_id", "group_instance_id"):
            return chance.choice((None, None, None, "i"))
        return chance.choice(
            GROUPS if "group" in name else ("consumer", "range", "", None) if "proto" in name else TOPICS
        )
    if kind == "records":
        return chance.choice((None, b"", batch(), batch(chance.randint(1, 4)), chance.randbytes(80)))
    if kind == "bytes":
        return chance.choice((None, b"", b"x" * 40, chance.randbytes(20)))
    if kind == "bool":
        return chance.random() < 0.5
    if kind == "uuid":
        return None
    wide = {"int8": 7, "int16": 15, "int32": 31, "int64": 63, "uint16": 16}.get(kind, 31)
    fitting = [number for number in NUMBERS if -(1 << wide) <= number < 1 << wide]
    return float(chance.choice(NUMBERS)) if kind == "float64" else chance.choice(fitting or [0])


# ---- the process, and what is done to it ----


class BrokerProcess:
    """`python -m stream.broker` on a folder; what it says goes to a file."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "broker.log"
        command = [sys.executable, "-m", "stream.broker", "--data-dir", str(folder / "data"), "--auto-create-topics"]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def connect(self, timeout_s: float = 60.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def faults(self) -> list[str]:
        """What the broker called its own fault."""
        said = self._said.read_text(errors="replace")
        return re.findall(r"by a fault of the broker\n(?:(?: |Traceback).*\n)*(.*)", said)

    def resident_mb(self, which: str = "VmRSS") -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(which):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> int:
        self.process.terminate()
        return self._ended()

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def _ended(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


class Bystander:
    """A client that behaves, and how long it has waited at most."""

    def __init__(self, broker: BrokerProcess) -> None:
        self._socket = broker.connect(PATIENCE_S)
        self._request = struct.pack(">hhih", API_VERSIONS, 0, 1, -1)
        self.slowest_s = 0.0

    def ask(self) -> None:
        """Raises `OSError` when there is no answer in `PATIENCE_S`."""
        began = time.perf_counter()
        self._socket.sendall(len(self._request).to_bytes(4, "big") + self._request)
        size = struct.unpack(">i", self._socket.recv(4, socket.MSG_WAITALL))[0]
        assert len(self._socket.recv(size, socket.MSG_WAITALL)) == size, "a whole answer"
        self.slowest_s = max(self.slowest_s, time.perf_counter() - began)

    def leave(self) -> None:
        self._socket.close()


class Attacked:
    """A broker with a bystander; when the bystander waits in vain, another broker takes its place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._faults: list[str] = []
        self._begin()

    def by(self, pieces: list[bytes], wait_s: float) -> tuple[list[bytes], float | None]:
        """What was answered to these pieces, and how long the bystander waited meanwhile (None: in vain)."""
        self._bystander.slowest_s = 0.0
        try:
            answers = talk(self.broker, pieces, wait_s, self._bystander.ask)
            self._bystander.ask()
        except (OSError, struct.error):
            self._faults += self.broker.faults()
            self._bystander.leave()
            self.broker.kill()
            self._begin()
            return [], None
        return answers, self._bystander.slowest_s

    def stop(self) -> int:
        """The status with which the broker ended."""
        self._bystander.leave()
        return self.broker.stop()

    def faults(self) -> list[str]:
        """What the brokers called their own faults."""
        return self._faults + self.broker.faults()

    def _begin(self) -> None:
        folder = self._folder / str(time.monotonic_ns())
        folder.mkdir(parents=True)
        self.broker = BrokerProcess(folder)
        for topic, policy in (("fuzz", "delete"), ("compact", "compact")):
            (answer,) = talk(self.broker, [lengthened(created(topic, policy))], 20.0, lambda: None)
            assert b"\x00\x00\xff\xff" in answer, f"{topic} was made: no error code, and no message"
        self._bystander = Bystander(self.broker)


def created(topic: str, policy: str) -> bytes:
    """A CreateTopics request (version 2) of two partitions, as it follows its length."""
    name, value = topic.encode(), policy.encode()
    config = struct.pack(f">ih14sh{len(value)}s", 1, 14, b"cleanup.policy", len(value), value)
    asked = struct.pack(f">ih{len(name)}sihi", 1, len(name), name, 2, 1, 0)
    return struct.pack(">hhih", 19, 2, 1, -1) + asked + config + struct.pack(">i?", 1000, False)


def produced(data: bytes, topic: str = "fuzz") -> bytes:
    """A Produce request (version 3) of one batch, as it follows its length."""
    name = topic.encode()
    head = struct.pack(">hhih", 0, 3, 1, -1) + struct.pack(">hhi", -1, 1, 1000)
    return head + struct.pack(f">ih{len(name)}sii", 1, len(name), name, 1, 0) + struct.pack(">i", len(data)) + data


def talk(broker: BrokerProcess, sent: list[bytes], wait_s: float, meanwhile: Callable[[], object]) -> list[bytes]:
    """Sends pieces on one connection, lets `meanwhile` happen, and returns how each answer begins that came before the
    connection was closed, or nothing more came."""
    answers: list[bytes] = []
    with broker.connect() as line:
        with suppress(OSError):
            for piece in sent:
                line.sendall(piece)
            line.shutdown(socket.SHUT_WR)
        meanwhile()
        line.settimeout(wait_s)
        with suppress(OSError):
            while len(size := line.recv(4, socket.MSG_WAITALL)) == 4:
                answer, left = b"", struct.unpack(">i", size)[0]
                while left > 0 and (part := line.recv(min(left, 1 << 20))):
                    answer, left = answer or part, left - len(part)
                answers.append(answer)
    return answers


def code_of(answer: bytes) -> int:
    """The error code of an answer to what `produced` sends."""
    name = struct.unpack_from(">h", answer, 8)[0]
    return int(struct.unpack_from(">h", answer, 10 + name + 8)[0])


def lengthened(found: bytes) -> bytes:
    return len(found).to_bytes(4, "big") + found


Attack = Callable[[random.Random], list[bytes]]


def _whole(chance: random.Random) -> list[bytes]:
    """Requests one after the other, without waiting."""
    keys = [chance.choice(list(APIS)) for _ in range(chance.randint(1, 5))]
    return [lengthened(frame(key, chance.randint(APIS[key].oldest, APIS[key].newest), chance)) for key in keys]


def _mutated(chance: random.Random) -> list[bytes]:
    seeds = frames(chance)
    return [lengthened(chance.choice(CHANGES)(chance.choice(seeds), seeds, chance)) for _ in range(3)]


def _truncated(chance: random.Random) -> list[bytes]:
    whole = _whole(chance)[0]
    return [whole[: chance.randint(0, len(whole) - 1)]]


def _lying(chance: random.Random) -> list[bytes]:
    """Lengths of frames that are not theirs."""
    size = chance.choice((0, 1, 9, 10, 2**31 - 1, -1, -(2**31), 100 * 2**20, 100 * 2**20 + 1, 5 * 2**20))
    return [struct.pack(">i", size) + chance.choice(frames(chance))]


def _endless(chance: random.Random) -> list[bytes]:
    """A flexible request whose lengths never end, as large as a frame of its kind may be."""
    key, version = chance.choice([(3, 12), (3, 9), (11, 6), (8, 8), (32, 4), (18, 3)])
    return [lengthened(struct.pack(">hhih", key, version, 1, -1) + chance.choice((b"\xff", b"\x80")) * (1 << 20))]


def _in_pieces(chance: random.Random) -> list[bytes]:
    whole = b"".join(_whole(chance))
    step = chance.choice((1, 3, 7))
    return [whole[at : at + step] for at in range(0, min(len(whole), 400), step)] + [whole[400:]]


ATTACKS: dict[str, Attack] = {
    "requests of all kinds": _whole,
    "requests, mutated": _mutated,
    "requests, cut off": _truncated,
    "lengths that are lies": _lying,
    "numbers without end": _endless,
    "requests in pieces": _in_pieces,
}
