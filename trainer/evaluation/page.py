"""The page of a replay: its report with plots, one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _LOW, _TOP = 760, 270, 46, 28, 26
_COLOURS = ("#1668b8", "#d1791b", "#7a8793", "#3d9a5a", "#a0489b")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2em auto; padding: 0 1em; color: #1c2733 }
h1 { font-size: 1.5em } h2 { font-size: 1.1em; margin-top: 2em }
table { border-collapse: collapse } td, th { padding: .2em .9em; text-align: right; border-bottom: 1px solid #e3e8ec }
td:first-child, th:first-child { text-align: left } .faint { color: #7a8793 }
"""


def page(report: Mapping[str, Any]) -> str:
    """The report as HTML: tables of quality, plots of quality over time and by source, cost and settings."""
    k = report["k"]
    title = f"Replay of {escape(str(report['stream']))}"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{report['evaluated']} engagements, each ranked among all live items before it was learned from; "
        f"seed {report['seed']}. Intervals hold 95 %.</p>",
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in report["headline"]) + "</ul>",
        "<h2>Quality</h2>",
        _quality(report, k),
        "<h2>Cold and fresh items among their own kind</h2>",
        _within(report, k),
        f"<h2>Hit ratio at {k} over time</h2>",
        _over_time(report["over_time"], k),
        "<h2>Candidates over time: what there is to rank, and what is hit of it</h2>",
        _recall_over_time(report["over_time"], k),
        "<h2>What each source finds (share of the true items on its list)</h2>",
        _bars(report["source_recall"]),
        "<h2>Where the hits came from (share of the hits, by the source that ranked them highest)</h2>",
        _bars(report["sources"]),
    ]
    for name, heading in (("ablations", "What each part is worth"), ("delays", "The price of delay")):
        if report.get(name):
            ratios = {label: found[f"hr@{k}"] or 0.0 for label, found in report[name].items()}
            count = next(iter(report[name].values()))["evaluated"]
            parts += [f"<h2>{heading}</h2>", _bars(ratios, against_first=True)]
            parts += [f"<p class=faint>Hit ratio at {k} of {count} engagements, the same for all lines.</p>"]
            parts += [_exchanged(report[name])] if name == "ablations" else []
    parts += ["<h2>Cost</h2>", _pairs(report["cost"], " s"), "<h2>Settings</h2>", _pairs(_flat(report["settings"]))]
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _exchanged(variants: Mapping[str, Any]) -> str:
    """What each variant hits that the whole does not, and the reverse: a difference of a few is chance."""
    rows = [[escape(name), str(found["gained"]), str(found["lost"])] for name, found in variants.items()]
    return _table(["", "hits gained", "hits lost"], rows[1:])


def _quality(report: Mapping[str, Any], k: int) -> str:
    slices = [
        ("all", "overall"),
        ("fresh: fewer than 5 engagements", "fresh"),
        ("cold: none", "cold"),
        ("younger than a day", "younger_than_day"),
        ("younger than a week", "younger_than_week"),
    ]
    names = list(report["baselines"])
    head = ["", "n", f"hr@{k}", "interval", f"ndcg@{k}", "hr@50", *(escape(name) for name in names)]
    rows = []
    for label, part in slices:
        found = report[part]
        low_high = found[f"hr@{k}_interval"]
        rows.append(
            [
                label,
                str(found["evaluated"]),
                _number(found[f"hr@{k}"]),
                f"{low_high[0]:.3f}&nbsp;–&nbsp;{low_high[1]:.3f}" if low_high else "–",
                _number(found[f"ndcg@{k}"]),
                _number(found["hr@50"]),
                *(_number(report["baselines"][name][part][f"hr@{k}"]) for name in names),
            ]
        )
    recall, size = (_number(report["candidates"][name]) for name in ("recall", "size"))
    note = f"Candidates: {recall} of the true items are among them; they are {size} on average."
    return _table(head, rows) + f"<p class=faint>{note}</p>"


def _within(report: Mapping[str, Any], k: int) -> str:
    rows = []
    for part in ("cold", "fresh"):
        found = report[part]["within"]
        numbers = [_number(found[f"hr@{k}"]), _number(found[f"chance@{k}"]), _number(found["candidates"])]
        rows.append([part, str(found["evaluated"]), *numbers])
    return _table(["", "n", f"hr@{k}", "chance", "candidates"], rows)


def _over_time(pieces: Sequence[Mapping[str, Any]], k: int) -> str:
    if not pieces:
        return "<p>Nothing was evaluated.</p>"
    lines = {"sidestream": [piece[f"hr@{k}"] for piece in pieces]}
    for name in pieces[0]["baselines"]:
        lines[name] = [piece["baselines"][name] for piece in pieces]
    return _lines(lines, _days(pieces))


def _recall_over_time(pieces: Sequence[Mapping[str, Any]], k: int) -> str:
    if not pieces:
        return "<p>Nothing was evaluated.</p>"
    lines = {
        "among the candidates": [piece["recall"] for piece in pieces],
        f"among the first {k}": [piece[f"hr@{k}"] for piece in pieces],
    }
    return _lines(lines, _days(pieces))


def _days(pieces: Sequence[Mapping[str, Any]]) -> list[str]:
    """When each piece began: the day, or the minute (UTC) of a stream of some days."""
    moments = [datetime.fromtimestamp(piece["from"], UTC) for piece in pieces]
    short = (moments[-1] - moments[0]).days < 3
    return [f"{moment:%m-%d %H:%M}" if short else moment.date().isoformat() for moment in moments]


def _lines(lines: Mapping[str, Sequence[float]], labels: Sequence[str]) -> str:
    """A line chart as inline SVG."""
    highest = max(max(values) for values in lines.values()) or 1.0
    step = (_WIDTH - _LEFT - 10) / max(1, len(labels) - 1)
    drawn = []
    for number in range(5):
        value = highest * number / 4
        y = _y(value, highest)
        drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e8ec"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>')
    for place in range(0, len(labels), max(1, len(labels) // 6)):
        anchor = "middle" if 0 < place < len(labels) - 1 else "end" if place else "start"
        at = f'x="{_LEFT + place * step:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}"'
        drawn.append(f"<text {at}>{escape(labels[place])}</text>")
    for place, ((name, values), colour) in enumerate(zip(lines.items(), _COLOURS, strict=False)):
        points = " ".join(f"{_LEFT + n * step:.1f},{_y(value, highest):.1f}" for n, value in enumerate(values))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(f'<text x="{_LEFT + 170 * place}" y="12" fill="{colour}">{escape(name)}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="11" role="img">{"".join(drawn)}</svg>'


def _bars(values: Mapping[str, float], *, against_first: bool = False) -> str:
    """A bar for each value; with what it lacks or has beyond the first one."""
    highest = max(values.values(), default=0.0) or 1.0
    first = next(iter(values.values()), 0.0)
    drawn = []
    for place, (name, value) in enumerate(values.items()):
        y, width = 22 * place, 440 * value / highest
        drawn.append(f'<text x="190" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        drawn.append(f'<rect x="200" y="{y + 3}" width="{width:.1f}" height="15" fill="{_COLOURS[0]}"/>')
        beyond = f" ({value - first:+.3f})" if against_first and place else ""
        drawn.append(f'<text x="{206 + width:.1f}" y="{y + 15}">{value:.3f}{beyond}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {22 * len(values) + 4}" font-size="12" role="img">{"".join(drawn)}</svg>'


def _y(value: float, highest: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _LOW) * (1 - value / highest)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + line("th", head) + "".join(line("td", row) for row in rows) + "</table>"


def _pairs(values: Mapping[str, Any], suffix: str = "") -> str:
    return _table(["", ""], [[escape(name), escape(f"{value}{suffix}")] for name, value in values.items()])


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if value < 10 else f"{value:.0f}"
