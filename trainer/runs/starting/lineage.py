"""Lineages: checkpoints of one form, each continuing the one before.

The form (of `[model]`: layers, width, heads, rows, words) fixes a model's tensors. When the settings ask for another,
the next run begins a new lineage.

Invariant: within a lineage tensors keep their forms, but for those of codes, and words keep their tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

from store.settings import Model
from trainer.checkpoint_loading import LoadedCheckpoint

Changes = Mapping[str, tuple[int, int]]
"""Name of a part of the form → what it was, and what it is to be."""


def form_of(model: Model) -> dict[str, int]:
    """What the settings ask for."""
    return {name: getattr(model, name) for name in ("layers", "width", "heads", "item_rows", "text_vocabulary")}


def changes(parent: LoadedCheckpoint | None, wanted: Model) -> Changes:
    """What of the parent's form is to change. How many words a lineage had asked for is not known of one that is older
    than its manifest's `form`: that counts as equal."""
    if parent is None:
        return {}
    shape, words = parent.generator.model.shape, parent.manifest.form.get("text_vocabulary", wanted.text_vocabulary)
    has = (shape.layers, shape.width, shape.heads, shape.tower.own, words)
    pairs = zip(has, form_of(wanted).items(), strict=True)
    return {name: (old, new) for old, (name, new) in pairs if old != new}


def lineage_of(checkpoint: str, parent: LoadedCheckpoint | None, changed: Changes) -> str:
    """The first checkpoint of the lineage that `checkpoint` belongs to; of one that is older than manifests which tell
    it, the first that is known."""
    if parent is None or changed:
        return checkpoint
    return parent.manifest.lineage or parent.manifest.checkpoint


def told(parent: LoadedCheckpoint | None, changed: Changes) -> str:
    """What a reader of the verdict should know; empty within a lineage."""
    if parent is None or not changed:
        return ""
    how = ", ".join(f"{name} {old} → {new}" for name, (old, new) in changed.items())
    return f"a new lineage ({how}), taught by {parent.manifest.checkpoint}"
