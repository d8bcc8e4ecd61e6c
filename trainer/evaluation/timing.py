"""Cost: the seconds that each part of a long piece of work takes, summed by name."""

from __future__ import annotations

import time


class Timer:
    """Context manager: adds the seconds of a block to `cost[name]`."""

    def __init__(self, cost: dict[str, float], name: str) -> None:
        self._cost, self._name = cost, name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._cost[self._name] = self._cost.get(self._name, 0.0) + time.perf_counter() - self._began
