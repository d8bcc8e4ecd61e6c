"""A broker in a thread of this process: a test can let it stand still or be gone, without a process of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream.broker import Broker


class BrokerThread:
    """Serves at `address` from the start on."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._goes_on = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._broker = Broker(folder, **options)
        self._do(self._broker.start())
        self.address = self._broker.address

    def stand_still(self) -> None:
        """Takes connections, and says nothing any more until it ends."""
        self._loop.call_soon_threadsafe(self._goes_on.wait)

    def stop(self) -> None:
        """Ends it; nobody listens at its address."""
        self._goes_on.set()
        self._do(self._broker.stop())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, act: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result(20)


@contextmanager
def broker_thread(folder: Path, **options: Any) -> Iterator[BrokerThread]:
    broker = BrokerThread(folder, **options)
    try:
        yield broker
    finally:
        broker.close()
