"""The tree of topics: what a codebook's prefixes are about, for people: words, example titles, and a picture.

A topic is a prefix with the items below it; its words are those of `trainer.semantic_ids.prefix_words`. Drawn as a
`rich` tree for the terminal, or as SVG (a strip per first code as high as its items are many, parted into its largest
second codes).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec
import numpy as np
from rich.text import Text
from rich.tree import Tree

from trainer.semantic_ids.prefix_words import SAMPLE_OF_ALL, WordCounts, sample_of, words_of

_WIDTH, _ROW, _LEFT = 1200.0, 26.0, 320.0


class PrefixTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A prefix of codes: how many items it has, its words, a few of their titles, and its largest sub-topics."""

    prefix: list[int]
    items: int
    words: list[str]
    examples: list[str]
    topics: list[PrefixTopic] = []


def topic_tree(
    codes_NL: np.ndarray,
    titles: Sequence[str],
    tags: Sequence[Sequence[str]],
    *,
    most: int = 16,
    below: int = 4,
    examples: int = 3,
) -> PrefixTopic:
    """The root topic with its `most` largest first codes, each with its `below` largest second codes."""

    def words(members: np.ndarray) -> WordCounts:
        return WordCounts(words_of(titles[item], tags[item]) for item in sample_of(members, SAMPLE_OF_ALL).tolist())

    everywhere = words(np.arange(len(codes_NL)))

    def topic(prefix: list[int], members: np.ndarray, widths: tuple[int, ...]) -> PrefixTopic:
        topics = []
        if widths and len(members) and len(prefix) < codes_NL.shape[1]:
            code_M = codes_NL[members, len(prefix)]
            count_W = np.bincount(code_M)
            for code in np.argsort(-count_W, kind="stable")[: widths[0]].tolist():
                if count_W[code]:
                    topics.append(topic([*prefix, code], members[code_M == code], widths[1:]))
        named = [titles[index] for index in members[: 50 * examples].tolist() if titles[index]][:examples]
        told = words(members).telling(everywhere)
        return PrefixTopic(prefix=prefix, items=len(members), words=told, examples=named, topics=topics)

    return topic([], np.arange(len(codes_NL)), (most, below))


def draw(root: PrefixTopic) -> Tree:
    """The tree for a terminal."""
    tree = Tree(f"{root.items:,} items")

    def add(branch: Tree, topic: PrefixTopic) -> None:
        for child in topic.topics:
            code = ".".join(map(str, child.prefix))
            words = _visible(", ".join(child.words)) or "–"
            twig = branch.add(Text.assemble((code, "bold"), f" {words} ", (f"({child.items:,})", "dim")))
            if child.topics:
                add(twig, child)
            else:
                for title in child.examples:
                    twig.add(Text(_visible(title[:80]), "dim"))

    add(tree, root)
    return tree


def _visible(text: str) -> str:
    """Without what a terminal would obey or an XML reader refuse."""
    return "".join(letter for letter in text if letter.isprintable())


def _printable(text: str) -> str:
    return escape(_visible(text))


def svg(root: PrefixTopic, notes: Sequence[str] = ()) -> str:
    """The picture: `notes` (the codebook's health), then a row per first code with its words; bars are its second
    codes, as wide as their share of items."""
    rows = [f'<text x="8" y="{44 + 18 * n}" class="code">{_printable(note)}</text>' for n, note in enumerate(notes)]
    begin = 40 + 18 * len(notes)
    for place, topic in enumerate(root.topics):
        top = begin + place * _ROW
        label = _printable(", ".join(topic.words) or "–")
        rows.append(f'<text x="8" y="{top + 17:.0f}"><tspan class="code">{topic.prefix[0]}</tspan> {label}</text>')
        left, scale = _LEFT, (_WIDTH - _LEFT - 20) / max(topic.items for topic in root.topics)
        rest = topic.items - sum(child.items for child in topic.topics)
        for shade, (items, title) in enumerate(
            [*((c.items, ", ".join(c.words)) for c in topic.topics), (rest, "other")]
        ):
            wide = items * scale
            hue = 205 if title != "other" else 0
            paint = f"hsl({hue} {55 if hue else 0}% {45 + 9 * min(shade, 4)}%)"
            rows.append(
                f'<rect x="{left:.1f}" y="{top + 3:.0f}" width="{max(wide - 1, 0.5):.1f}" height="{_ROW - 6:.0f}" '
                f'fill="{paint}"><title>{_printable(title)}: {items} items</title></rect>'
            )
            left += wide
    height = begin + 20 + len(root.topics) * _ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" font-family="sans-serif" '
        f'font-size="13"><style>.code{{fill:#888}}text{{fill:#222}}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="8" y="22" font-weight="bold">{root.items:,} items by their first code</text>{"".join(rows)}</svg>'
    )
