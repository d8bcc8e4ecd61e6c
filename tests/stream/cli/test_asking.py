"""`recommend`, `trace` and `status` against a worker in memory."""

from __future__ import annotations

from stream.cli.asking import _after
from stream.metrics.metrics import Metrics
from stream.terminal.text import plain
from stream.web.server import application
from tests.stream.client.test_client import serving
from tests.stream.conftest import Run
from tests.stream.web.fake_service import FakeService


def test_recommend(run: Run, worker_url: str) -> None:
    ran = run("recommend", "--user", "u1", "-k", "2", "--url", worker_url)
    assert ran.status == 0
    assert "Sourdough for beginners" in ran.out
    assert "checkpoint c1" in ran.out
    answer = run("recommend", "--user", "far", "--url", worker_url, "--json").document
    assert answer["degraded"] is True
    assert answer["items"][0]["item_id"] == "i1"
    short = run("recommend", "--user", "u1", "-k", "50", "--url", worker_url)
    assert "note: only 5 items are live\n" in short.out
    lost = run("recommend", "--user", "u1", "--task", "similar", "--item", "none", "--url", worker_url)
    assert (lost.status, lost.err.count("\n")) == (1, 1)
    wrong = run("recommend", "--task", "nap", "--url", worker_url)
    assert wrong.status == 1
    assert "task" in wrong.err


def test_trace_and_status(run: Run, worker_url: str) -> None:
    assert "1970-01-01 00:00:01.000 UTC" in run("trace", "i1", "--url", worker_url).out
    assert run("trace", "i1", "--url", worker_url, "--json").document["item_id"] == "i1"
    unknown = run("trace", "nothing", "--url", worker_url)
    assert (unknown.status, unknown.err.count("\n")) == (1, 1)
    status = run("status", "--url", worker_url)
    assert status.status == 0
    assert "upload → recommendable" in status.out
    assert "the ranker expected: click 0.120 (came 0.125)" in status.out
    assert "exploration: 10 of 200 lines (5.0%), 2 of 30 hits; 9 of 40 little-known items shown" in status.out
    assert run("status", "--url", worker_url, "--json").document["codebook"] == "v0"


def test_what_came_before_an_item_was_uploaded_again_has_no_negative_time() -> None:
    assert _after(1000.0, 994.6) == "before this upload"
    assert _after(1000.0, 1000.25).startswith("+250")
    assert _after(1000.0, None) == _after(None, 5.0) == "–"


HOSTILE = {
    "i[/b]": "a title with [/b], and [bold]",
    "-dash": "\x1b[2J\x1b]0;owned\x07",
    "a/b c%2F": "two\nlines, a \u202ereversed one, ends in \\\\",
    "\x9b31m": "שלום 🎾",
    "..": "two dots",
    "x" * 256: "long",
}


def test_titles_and_ids_of_others_are_text(run: Run) -> None:
    metrics = Metrics()
    for url in serving(application(FakeService(metrics, HOSTILE), metrics)):
        ran = run("recommend", "--user", "u1", "--url", url)
        assert ran.status == 0, ran.err
        assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(ran.out)
        assert all(plain(text)[:60] in ran.out for pair in HOSTILE.items() for text in pair)
        for item_id in HOSTILE:
            traced = run("trace", item_id, "--url", url)
            assert (traced.status, traced.out.startswith(plain(item_id) + "\n")) == (0, True), traced
            assert run("trace", "--url", url, "--json", "--", item_id).document["item_id"] == item_id
        unknown = run("trace", "\x1b[31mnothing", "--url", url)
        assert (unknown.status, "\x1b" in unknown.err, unknown.err.count("\n")) == (1, False, 1)


def test_no_worker(run: Run) -> None:
    for command in (["recommend"], ["trace", "i"], ["status"], ["checkpoints", "list"], ["codebook", "show"]):
        ran = run(*command, "--url", "http://127.0.0.1:1")
        assert (ran.status, ran.out) == (1, "")
        assert "sidestream up" in ran.err
