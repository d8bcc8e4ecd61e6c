"""Replaying: a recorded folder in, a report out: what `sidestream replay` runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from store.events import Engagement, Upload
from trainer.content import content_parts, text_encoder
from trainer.replay import Progress, Replay, ReplayOptions, read
from trainer.replay_report import report


def run_replay(
    folder: Path,
    options: ReplayOptions = ReplayOptions(),
    *,
    encoder: str = "static",
    json_path: Path | None = None,
    html_path: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Replays the stream in `folder` and returns its report (DESIGN section 8), written where asked.

    Raises `StreamError` if the folder is no recorded stream.
    """
    uploads, engagements = read(folder, "uploads", Upload), read(folder, "engagements", Engagement)
    text = text_encoder(encoder)
    replay = Replay(uploads, engagements, lambda some: content_parts(some, text), options)
    found = report(folder.name, replay.run(progress), options)
    if json_path is not None:
        json_path.write_text(json.dumps(found, indent=1) + "\n")
    if html_path is not None:
        from trainer.replay_page import page

        html_path.write_text(page(found))
    return found
