"""Crash points: ends the process at a named boundary, for tests. Off unless the environment asks.

`SIDESTREAM_FAULT=written:7` kills the process, as SIGKILL would, the seventh time that `written` is reached;
`written:7:STOP` lets it stand still there until it is sent SIGCONT. Every boundary behind which something is on a disk
or on the log, and before which it is not, has a point.

Invariant: `POINTS` names each point once, and a test kills a process at each (`tests/test_crash_points.py`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

Fault = Callable[[str], None]
"""Called with the name of each boundary; off in production, kills the process in chaos tests."""

POINTS: Mapping[str, str] = {
    # One partition of engagements or item-signals at work, in this order
    "restored": "rows are read, the partition is not announced",
    "absorbed": "records are absorbed and what they cause is given to the emitter, rows lie in memory",
    "vectors_written": "vectors are on the disk, the item rows that vouch for them are not",
    "written": "rows and position are on the disk, nothing of them is published",
    "sent": "what the records cause is safe on the log, the rows are not",
    "published": "rows and position are on the state topic, the position's safe part has not moved",
    "kept": "the safe part is on the disk",
    # One partition of uploads
    "uploads_restored": "take-downs are read, the partition is not announced",
    "uploads_written": "take-downs are on the disk, nothing of them is published",
    "cards_sent": "some cards of a batch of uploads are queued, none is known to be safe",
    # Published again: rows of a state topic that was lost, cards under another codebook
    "rows_republished": "a chunk of the rows of a lost state topic is published again, the others are not",
    "cards_reassigned": "a chunk of the cards has codes of the new codebook, the others have old ones",
    # A checkpoint's folder
    "checkpoint_filled": "all files are in the hidden folder, nothing is forced to the disk",
    "checkpoint_forced": "the hidden folder is on the disk, its name is not",
    "checkpoint_named": "the folder has its name, no verdict",
    "manifest_written": "the new manifest lies beside the one that counts",
    "checkpoint_hidden": "a pruned folder has lost its name, its files are there",
    # A training run, and what serves
    "learning_kept": "a state of the run's learning lies in its work folder, the oldest one is still there",
    "run_judged": "the verdict is in the manifest, the log says nothing of it",
    "run_gated": "the log says that the gate has judged, the checkpoint is not offered",
    "run_announced": "the checkpoint is offered, the run has not ended",
    "swap_loaded": "a checkpoint is loaded and warm, the one before it serves",
    "swapped": "the new one serves here, cards have the old codebook",
    "rolled_back": "the one before serves again here, the others do not know",
    # A publisher's spill
    "spill_forced": "records are in the spill, nobody was told that they are",
    "spill_answered": "records of the spill are acknowledged, and still in it",
    # The embedded broker's disk
    "file_written": "the new content lies beside the file that counts",
    "topic_named": "a topic has its name, no partitions",
    "segment_unlinked": "a segment is gone, its seal is not",
    "compaction_planned": "compacted segments lie beside those that count",
    "compaction_unsealed": "the first old segment's index is not believed any more, its content counts",
    "compaction_replaced": "a compacted segment has taken the first one's place, without its seal",
    "compaction_sealed": "it has its seal, the others that it stands for are still there",
}
"""Point → what is there when a process ends at it, and what is not."""


def no_fault(boundary: str) -> None:
    """The hook that does nothing."""


def crash_point_from(environment: Mapping[str, str]) -> Fault:
    """The hook that `SIDESTREAM_FAULT` describes."""
    wanted = environment.get("SIDESTREAM_FAULT", "")
    if not wanted:
        return no_fault
    name, count, action = (*wanted.split(":"), "", "")[:3]
    left = int(count or 1)
    sent = signal.SIGSTOP if action == "STOP" else signal.SIGKILL

    def crash_point(boundary: str) -> None:
        nonlocal left
        if boundary == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), sent)

    return crash_point


reached: Fault = crash_point_from(os.environ)
"""This process's hook: `reached("written")`."""
