"""The tiny world's users at work: one recommender, and their engagements as they are ranked before they are learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from store.checkpoints import CheckpointFolder
from store.histories import HistoryRules, UserRow
from store.histories import absorb as absorb_engagement
from store.items import ItemRow
from store.settings import Settings
from tests.trainer.worlds import WEIGHTS, cards, stream
from trainer.checkpoint_loading import load_checkpoint
from trainer.examples import RankedEngagement
from trainer.items.item_learning import absorb as absorb_signal
from trainer.model_bundle import ModelBundle, popularity_in
from trainer.recommender import Recommender, RecommenderRules
from trainer.semantic_ids.codebook import zero_codebook


class Walkers:
    """Each walks through the items of one topic."""

    def __init__(self, recommender: Recommender | None = None) -> None:
        self.recommender = recommender or Recommender(
            RecommenderRules(explore_share=0.0), serving=ModelBundle(zero_codebook(Settings()))
        )
        for card in cards().values():
            self.recommender.insert(card)

    def bundle(self, folder: Path, checkpoint: str) -> ModelBundle:
        """A checkpoint, ready to serve these items."""
        loaded = load_checkpoint(CheckpointFolder(folder), checkpoint)
        bundle = ModelBundle(
            loaded.codebook,
            checkpoint=checkpoint,
            generator=loaded.generator,
            published=self.recommender.published,
            popularity=popularity_in(loaded.manifest),
        )
        handles = self.recommender.catalog.handles
        bundle.insert_many([handles[item_id] for item_id in cards()], list(cards().values()))
        return bundle

    def ranked(self, users: int, each: int = 6) -> Iterator[RankedEngagement]:
        """Their engagements, but the first ones."""
        rows: dict[str, UserRow] = {}
        items: dict[str, ItemRow] = {}
        for offset, event in enumerate(stream(users, each, seed=3)):
            row = rows.setdefault(event.user_id, UserRow())
            if event.user_id in rows and offset >= users:
                found = self.recommender.example(row, event)
                assert found is not None
                yield found
            signal = absorb_engagement(row, event, offset, 0, HistoryRules(weights=WEIGHTS))
            assert signal is not None
            absorb_signal(items.setdefault(event.item_id, ItemRow()), signal, self.recommender.rules.item)
            self.recommender.update(event.item_id, items[event.item_id])


def reversed_checkpoint(folder: Path, checkpoint: str, name: str) -> Path:
    """A copy of a checkpoint whose model prefers what it should not, sealed as if it were whole."""
    import shutil

    from safetensors.torch import load_file, save_file

    from store.checkpoints import read_manifest, seal

    copy = folder / name
    shutil.copytree(folder / checkpoint, copy)
    weights = load_file(copy / "model.safetensors")
    for part in ("query.weight", "query.bias", "gain.weight", "gain.bias"):
        weights[f"tower.{part}"] = -8.0 * weights[f"tower.{part}"]
    save_file(weights, copy / "model.safetensors")
    seal(copy, read_manifest(copy))
    return copy
