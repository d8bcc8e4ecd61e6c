"""Some swaps under load: nothing fails, and every answer is the whole answer of the checkpoint that it names."""

from __future__ import annotations

import json

import pytest

from bench.swaps import Asked, measure, pauses_ms, told


def body(checkpoint: str, score: float) -> bytes:
    line = {"item_id": "i", "score": score, "source": "model", "semantic_id": [1, 2]}
    return json.dumps({"checkpoint": checkpoint, "items": [line]}).encode()


def test_an_answer_that_mixes_two_checkpoints_is_seen() -> None:
    known = {(folder, "u"): told(body("any", score))[1] for folder, score in (("/a", 1.0), ("/b", 2.0))}
    asked = Asked(known, {"one": "/a", "two": "/b"})
    for checkpoint, score in (("one", 1.0), ("two", 2.0), ("two", 1.0)):
        asked.note("u", 200, body(checkpoint, score), 0.1)
    asked.note("u", 503, b"", 0.1)
    assert (asked.mixed, asked.failed, asked.serving, len(asked.took_s)) == (1, 1, "two", 4)


def test_pauses_are_those_of_the_log() -> None:
    lines = ["… INFO stream.serving.swaps swapped: none → one in 0.007 ms", "… INFO other: came → went in 3 ms more"]
    lines.append("… INFO stream.serving.swaps rolled back: two → one in 35.000 ms")
    assert pauses_ms("\n".join(lines)) == [0.007, 35.0]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_swaps_under_load_fail_nothing_and_mix_nothing() -> None:
    seen = measure(12, per_s=20.0, alone_s=2.0)
    assert (seen.failed, seen.mixed) == (0, 0)
    assert seen.telling > 0, "the two checkpoints answer alike: a mixed answer could not be seen"
