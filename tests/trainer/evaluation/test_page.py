"""The page of a report: its plots and tables, escaped, and nothing fetched."""

from __future__ import annotations

from tests.trainer.evaluation.test_report import outcome
from trainer.evaluation.page import page
from trainer.evaluation.prequential import ReplayOptions, ReplayResult
from trainer.evaluation.report import report


def test_the_page_plots_and_escapes() -> None:
    whole = {"hr@10": 0.5, "evaluated": 2, "gained": 0, "lost": 0}
    less = {"hr@10": 0.0, "evaluated": 2, "gained": 7, "lost": 8}
    result = ReplayResult(evaluated=[outcome(0), outcome(-1)], ablations={"everything": whole, "without hops": less})
    text = page(report("<stream>", result, ReplayOptions()))
    assert "&lt;stream&gt;" in text
    assert "<stream>" not in text
    assert text.count("<svg") == 5
    assert "<td>without hops</td><td>7</td><td>8</td>" in text
    assert "http" not in text


def test_the_page_of_an_empty_replay_stands() -> None:
    assert "Nothing was evaluated" in page(report("empty", ReplayResult(), ReplayOptions()))
