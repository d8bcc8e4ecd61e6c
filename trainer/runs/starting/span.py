"""The span: from where a run learns, and what it holds out.

Invariant: what is held out comes after all that is learned from, in the order of the broker's time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from store.log import Offsets
from store.settings import Settings, Training
from trainer.model.corpus import Corpus, at_or_after, cut_offsets
from trainer.runs.causes.codebook_choice import CodebookRequest
from trainer.runs.log_window import Window


class NotEnoughDataError(RuntimeError):
    """The log holds too little to learn from: the message says how much is missing. Publish more, then train again."""


@dataclass(frozen=True, slots=True)
class Span:
    """Partition → the offset from which is learned as new, and that from which is held out. `note`: what a reader of
    the verdict should know."""

    begin: Offsets
    cut: Offsets
    note: str = ""

    def of(self, window: Window) -> Window:
        """The window with this beginning."""
        return replace(window, begin=self.begin)


def check_enough(window: Window, settings: Settings, request: CodebookRequest) -> None:
    """Raises `NotEnoughDataError`."""
    have, wanted = len(window.engagements) if request else window.new(), settings.training.min_engagements
    if have < wanted:
        kind = "engagements" if request else "new engagements"
        there = f"{have} {kind}" if have else f"there is nothing new to learn from: no {kind}"
        raise NotEnoughDataError(f"{there} of at least {wanted}: {wanted - have} are missing")
    if not window.items:
        raise NotEnoughDataError("no item has a semantic ID yet: publish uploads and run a worker")


def span_of(
    window: Window, corpus: Corpus, rules: Training, request: CodebookRequest, new_lineage: bool = False
) -> Span:
    """The span of a run. Raises `NotEnoughDataError`. A new lineage learns from `lookback_engagements` before the new
    ones, too.

    A request for a codebook needs no new engagements. The changed codes are learned from older ones again, and the gate
    asks about the newest ones that the serving model has not learned from: in a quiet log those that its own gate
    held out, which the next run will find untouched. Only if even these are too few, it asks about ones that both know.
    """
    positive_E = corpus.weight_E > 0
    new, every = int((at_or_after(corpus, window.begin) & positive_E).sum()), int(positive_E.sum())
    if not request:
        if new < rules.min_engagements // 2:
            raise NotEnoughDataError(f"only {new} of the new engagements are positive ones with a live item")
        begin = _reaching(window, corpus, new + rules.lookback_engagements) if new_lineage else window.begin
        return Span(begin, cut_offsets(corpus, min(rules.gate_engagements, new // 3)))
    if every < rules.min_engagements // 2:
        raise NotEnoughDataError(f"only {every} engagements are positive ones with a live item")
    untouched = rules.gate_min_events <= new < every
    held = min(rules.gate_engagements, new if untouched else every // 3)
    wanted = rules.lookback_engagements if request == "anew" else rules.first_engagements
    begin = _reaching(window, corpus, max(new, held + wanted))
    note = "" if untouched or new == every else "judged on engagements that the serving model had learned from"
    return Span(begin, cut_offsets(corpus, held), note)


def _reaching(window: Window, corpus: Corpus, newest: int) -> Offsets:
    """Where the window begins, or earlier, so that it holds about so many of the newest engagements."""
    reach = cut_offsets(corpus, newest)
    return {partition: min(at, reach.get(partition, at)) for partition, at in window.begin.items()}
