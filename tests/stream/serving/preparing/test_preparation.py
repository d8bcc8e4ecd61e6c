"""A bundle that is handed out holds what is live now, whatever came and went while it was filled."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from store.checkpoints import CheckpointRecord, RankerRecord
from store.settings import Settings
from stream.serving.preparing.preparation import MOST_AT_ONCE, Preparation
from tests.small_world import START, World, card
from trainer.model_bundle import ModelBundle
from trainer.recommender import Recommender


def of_items(count: int) -> Recommender:
    world = World()
    for number in range(count):
        world.recommender.insert(card(number, START))
    return world.recommender


def in_tree(bundle: Any, recommender: Recommender) -> set[str]:
    return {item_id for item_id, handle in recommender.catalog.handles.items() if bundle.tree.codes_of(handle)}


@pytest.mark.parametrize("came", [0, 5, MOST_AT_ONCE + 20])
def test_what_comes_and_goes_while_a_bundle_is_filled_is_taken_over(came: int, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = of_items(20)
    filling, may_end = threading.Event(), threading.Event()

    def slowly(*given: Any) -> None:
        fill(*given)
        filling.set()
        assert may_end.wait(30)

    fill = ModelBundle.fill
    monkeypatch.setattr(ModelBundle, "fill", slowly)

    async def prepared() -> Any:
        preparation = Preparation(Settings(), recommender)
        making = asyncio.create_task(preparation.of_none())
        await asyncio.get_running_loop().run_in_executor(None, filling.wait, 30)
        for number in range(20, 20 + came):
            recommender.insert(one := card(number, START))
            preparation.changed(recommender.catalog.handles[one.item_id], one)
        for gone in ("i3", "i21") if came else ():
            recommender.remove(gone)
            preparation.changed(recommender.catalog.handles[gone], None)
        may_end.set()
        bundle = await making
        preparation.close()
        assert preparation.bundle is None
        return bundle

    bundle = asyncio.run(prepared())
    live = {one.item_id for one in recommender.catalog.cards if one is not None}
    assert in_tree(bundle, recommender) == live
    assert len(live) == 20 + came - 2 * bool(came)


def test_nothing_is_noted_while_nothing_is_prepared() -> None:
    preparation = Preparation(Settings(), of_items(1))
    preparation.changed(0, None)
    assert preparation._meanwhile is None
    preparation.close()


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    async def ask() -> None:
        preparation = Preparation(Settings(), of_items(1))
        nowhere = CheckpointRecord(
            checkpoint="x", parent=None, location=str(tmp_path / "x"), verdict="passed", published_at=1.0
        )
        with pytest.raises(RuntimeError, match="no checkpoint in"):
            await preparation.of_checkpoint(nowhere, 1.0)
        with pytest.raises(ValueError, match="is no ranker's file"):
            await preparation.ranker(RankerRecord(ranker="r", location="/dev/zero", published_at=1.0))
        preparation.close()

    asyncio.run(ask())
