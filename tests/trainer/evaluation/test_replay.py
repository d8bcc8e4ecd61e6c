from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.events import Engagement, Upload
from store.settings import Settings, settings_from
from trainer.evaluation.recorded_streams import StreamError
from trainer.evaluation.replay import run_replay

DAY_S = 86_400.0


def small_stream(engagements: int = 600) -> tuple[list[Upload], list[Engagement]]:
    """Users of two tastes over forty items that come one a day."""
    rng = random.Random(0)
    uploads = [
        Upload(item_id=f"i{n}", uploaded_at=n * DAY_S / 2, title=f"{'garden spade' if n % 2 else 'guitar string'} {n}")
        for n in range(40)
    ]
    events = []
    for n in range(engagements):
        at = DAY_S * (2 + n * 18 / engagements)
        user = rng.randrange(60)
        there = [upload for upload in uploads if upload.uploaded_at < at]
        liked = [upload for upload in there if int(upload.item_id[1:]) % 2 == user % 2]
        item = rng.choice(liked if rng.random() < 0.9 else there)
        events.append(
            Engagement(event_id=f"e{n}", user_id=f"u{user}", item_id=item.item_id, kind="click", occurred_at=at)
        )
    return uploads, events


def test_a_report_has_what_the_design_promises(tmp_path: Path) -> None:
    uploads, events = small_stream(300)
    for name, some in (("uploads", uploads), ("engagements", events)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(msgspec.json.encode(event) for event in some))
    report, html = tmp_path / "out.json", tmp_path / "out.html"
    found = run_replay(tmp_path, sample=150, ablate=True, delays=True, report=report, html=html, quiet=True)
    assert msgspec.json.decode(report.read_bytes()) == found
    assert {"stream", "k", "seed", "evaluated", "overall", "fresh", "cold", "baselines", "sources", "cost"} < set(found)
    assert {"evaluated", "hr@10", "ndcg@10", "hr@50"} < set(found["overall"])
    assert {"evaluated", "hr@10", "chance@10"} < set(found["cold"]["within"])
    assert found["heads"] == {}  # too few examples for a first fit
    assert {"popular", "pctm", "item-knn"} < set(found["baselines"])
    variants = [each for name, each in found["baselines"].items() if name.startswith("item-knn (")]
    assert found["baselines"]["item-knn"] in variants
    assert found["baselines"]["item-knn"]["overall"]["hr@10"] == max(each["overall"]["hr@10"] for each in variants)
    assert len(found["baselines"]) == len(variants) + 3
    assert {"everything", "without transitions features", "without source follows"} <= set(found["ablations"])
    assert list(found["delays"]) == ["nothing", "a minute", "an hour", "a day", "a week"]
    assert html.read_text().startswith("<!doctype html>")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    for name, some in zip(("uploads", "engagements"), small_stream(400), strict=True):
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(msgspec.json.encode(event) for event in some))
    return folder


def measured(folder: Path, settings: Settings) -> dict[str, Any]:
    """What a replay with these settings measures, without what it says about itself."""
    found = run_replay(folder, settings, sample=120, quiet=True)
    return {name: part for name, part in found.items() if name not in ("cost", "settings")}


@pytest.fixture(scope="module")
def with_defaults(recorded: Path) -> dict[str, Any]:
    return measured(recorded, Settings())


@pytest.mark.parametrize(
    "changed",
    [
        {"store": {"context_length": 1, "history_length": 2}},
        {"store": {"vector_admit_after": 1_000}},
        {"kafka": {"partitions": 1}},
        {"codebook": {"levels": 1, "width": 2}},
    ],
    ids=["store", "vectors", "partitions", "codebook"],
)
def test_what_is_replayed_is_what_is_served_with_the_same_settings(
    changed: dict[str, Any], recorded: Path, with_defaults: dict[str, Any]
) -> None:
    """Each of these changes what a worker would answer; a replay that measures the same has not looked at it."""
    assert measured(recorded, settings_from(changed)) != with_defaults


def test_a_folder_without_a_stream_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="recorded stream"):
        run_replay(tmp_path, quiet=True)
