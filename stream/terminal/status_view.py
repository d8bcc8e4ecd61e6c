"""The status of a system as people read it: every stage beside its objective, the lag, what the ranker has learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream.terminal.output import emit, span, table
from stream.terminal.text import plain


def show_status(report: Mapping[str, Any]) -> None:
    """Prints the report of `/v1/status`."""
    rows: list[tuple[object, ...]] = [
        (stage["title"], span(stage["value_s"]), span(stage.get("p50_s")), span(stage["objective_s"]), stage["verdict"])
        for stage in report["stages"]
    ]
    rows += [
        (f"lag of {topic}", f"{each['events']:,} events", "–", f"{each['objective']:,} events", each["verdict"])
        for topic, each in report["lag"].items()
    ]
    table(("stage", "now (p99)", "p50", "objective", "verdict"), rows)
    for line in [*_canaries(report), *_learning(report), _summary(report)]:
        emit(None, False, plain(line))


def _summary(report: Mapping[str, Any]) -> str:
    reason = "" if report.get("ready", True) else f"; not ready: {report.get('reason')}"
    reason += "" if report["lag"] else "; the lag is not known: no broker answers this worker"
    return (
        f"{report['verdict']}: {report['live_items'] or 0:,} live items, "
        f"checkpoint {report.get('checkpoint') or 'none yet'}, codebook {report.get('codebook')}{reason}"
    )


def _canaries(report: Mapping[str, Any]) -> list[str]:
    """What the canaries say, where that is not that all is well; nothing for an older worker."""
    lines = []
    for stage in report["stages"]:
        canary = stage.get("canary") or {}
        if canary.get("verdict") == "missed" and (canary["age_s"] or 0.0) > canary["overdue_after_s"]:
            lines.append(f"{stage['title']}: the last canary left {span(canary['age_s'])} ago, and none came since")
        elif canary.get("missing"):
            lines.append(f"{stage['title']}: no canary has come yet from {canary['missing']:,} partitions")
    return lines


def _learning(report: Mapping[str, Any]) -> list[str]:
    """How well calibrated the ranker's heads are, and what exploration has shown; nothing for an older worker."""
    lines = []
    heads = report.get("ranker_heads") or {}
    if heads:
        told = (f"{name} {one['predicted']:.3f} (came {one['observed']:.3f})" for name, one in heads.items())
        lines.append(f"the ranker expected: {', '.join(told)}")
    found = report.get("exploration") or {}
    if found.get("lines"):
        lines.append(
            f"exploration: {found['explored']:,} of {found['lines']:,} lines ({found['share']:.1%}), "
            f"{found['explored_hits']:,} of {found['hits']:,} hits; "
            f"{found['covered']:,} of {found['little_known']:,} little-known items shown"
        )
    return lines
