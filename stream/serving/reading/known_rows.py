"""Known rows: how far the row of each item in the catalogue is, and what its counters say, by handle.

Invariant: an item without a row has offset -1 and no counts.
"""

from __future__ import annotations

import numpy as np

from store.events import KINDS

NO_ROW = -1


class KnownRows:
    """Columns over handles N and kinds K that grow as handles do."""

    def __init__(self) -> None:
        self._offset_N = np.full(1024, NO_ROW, np.int64)
        self._counters_NK = np.zeros((1024, len(KINDS)), np.int64)

    def offset(self, handle: int) -> int:
        """How far the row of an item is."""
        return int(self._offset_N[handle]) if handle < len(self._offset_N) else NO_ROW

    def offsets(self, handles: np.ndarray) -> np.ndarray:
        """The same of some items."""
        self._reserve(int(handles.max(initial=0)) + 1)
        return np.asarray(self._offset_N[handles])

    def counters(self, handle: int) -> dict[int, int]:
        """Kind → engagements."""
        if handle >= len(self._offset_N):
            return {}
        return {kind: count for kind, count in enumerate(self._counters_NK[handle].tolist()) if count}

    def put(self, handles: np.ndarray, offset_R: np.ndarray, counters_RK: np.ndarray) -> None:
        """These are the rows of some items from now on."""
        self._reserve(int(handles.max(initial=0)) + 1)
        self._offset_N[handles], self._counters_NK[handles] = offset_R, counters_RK

    def drop(self, handle: int) -> bool:
        """Forgets the row of an item; whether there was one."""
        was_known = self.offset(handle) > NO_ROW
        if was_known:
            self._offset_N[handle], self._counters_NK[handle] = NO_ROW, 0
        return was_known

    def _reserve(self, handles: int) -> None:
        lack = handles - len(self._offset_N)
        if lack > 0:
            lack = max(lack, len(self._offset_N))
            self._offset_N = np.concatenate([self._offset_N, np.full(lack, NO_ROW, np.int64)])
            more_NK = np.zeros((lack, len(KINDS)), np.int64)
            self._counters_NK = np.concatenate([self._counters_NK, more_NK])
