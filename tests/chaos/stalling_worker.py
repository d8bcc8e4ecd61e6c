"""A real worker of which a test can stall one partition or one agent: `python -m tests.chaos.stalling_worker SETTINGS`.

On SIGUSR1 it reads the file `stall` beside its settings: `partition uploads 0` keeps that partition from absorbing,
`agent item-signals` keeps that agent from handing on what it reads; empty, everything goes on. Nothing fails and
nothing is logged: a task that waits for ever, as a deadlock or a lost wake-up leaves it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from store.settings import load_settings
from stream.worker import Worker
from stream.worker_process import run_worker
from tests.chaos.workers import WorkerProcess


class StallingWorker(WorkerProcess):
    """The process, as a test has it."""

    def start(self, **environment: str) -> None:
        (self.folder / "stall").write_text("")
        command = [sys.executable, "-m", "tests.chaos.stalling_worker", str(self.file)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
            )

    def stall(self, what: str) -> None:
        """`partition TOPIC NUMBER`, `agent TOPIC`, or nothing."""
        (self.folder / "stall").write_text(what)
        self._signal(signal.SIGUSR1)


class Stalls:
    """What stands still in one worker."""

    def __init__(self, worker: Worker, file: Path) -> None:
        self._assignment = worker._assignment
        self._file = file
        self._agent = ""
        self._free = asyncio.Event()
        self._take = self._assignment.take
        self._assignment.take = self._taken  # type: ignore[method-assign]

    def read(self) -> None:
        kind, *named = (self._file.read_text() or "nothing").split()
        self._free.set()
        self._free = asyncio.Event()
        self._agent = named[0] if kind == "agent" else ""
        if kind == "partition":
            self._stall_partition(named[0], int(named[1]))

    def _stall_partition(self, agent: str, number: int) -> None:
        partition: Any = self._assignment.get(agent, number)
        absorb, free = type(partition).absorb, self._free

        async def waiting(records: Any) -> Any:
            await free.wait()
            return await absorb(partition, records)

        partition.absorb = waiting

    async def _taken(self, agent: str, event: Any) -> None:
        if agent == self._agent:
            await self._free.wait()
        await self._take(agent, event)


def main(file: Path) -> int:
    def started(worker: Worker) -> None:
        stalls = Stalls(worker, file.parent / "stall")
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stalls.read)

    return run_worker(load_settings(file, {}), started)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
