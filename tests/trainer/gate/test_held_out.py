"""Held-out engagements: only unseen ones with items new to their users, in slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.trainer.worlds import NOW, corpus
from trainer.gate.held_out import HeldOutEvents
from trainer.model.corpus import at_or_after, cut_offsets


def test_the_held_out_events_are_unseen_first_engagements() -> None:
    world = corpus()
    held_E = at_or_after(world, cut_offsets(world, 120))
    held_out = HeldOutEvents.of(world, held_E, limit=1000, seed=0)
    assert held_E[held_out.event_N].all()
    for event in held_out.event_N.tolist():
        assert int(world.item_E[event]) not in held_out.has(event)
    assert len(HeldOutEvents.of(world, held_E, limit=7, seed=0).event_N) <= 7
    assert held_out.slices()["overall"].all()


def test_slices_tell_the_cold_and_the_young_apart() -> None:
    world = corpus()
    held_E = at_or_after(world, cut_offsets(world, 120))
    young = int(np.bincount(world.item_E[held_E]).argmax())
    uploaded_I = world.uploaded_I.copy()
    uploaded_I[young] = NOW + 1e9
    held_out = HeldOutEvents.of(replace(world, uploaded_I=uploaded_I), held_E, limit=1000, seed=0)
    slices = held_out.slices()
    assert set(slices) == {"overall", "fresh", "cold", "younger"}
    assert np.array_equal(slices["younger"], world.item_E[held_out.event_N] == young)
    assert not (slices["cold"] & ~slices["fresh"]).any()
