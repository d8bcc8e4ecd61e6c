"""The tower: an item is its codes, its content and its vector, and any of these alone."""

from __future__ import annotations

import torch

from trainer.model.item_tower import ItemTower, TowerShape

SHAPE = TowerShape(content=12, vector=6, out=8)


def tower() -> ItemTower:
    torch.manual_seed(0)
    return ItemTower(SHAPE, width=16, codes=9)


def parts(items: int = 200) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randint(0, 9, (items, 3)), torch.randn(items, 12), torch.randn(items, 6)


@torch.inference_mode()
def test_vectors_say_nothing_until_they_are_learned_from() -> None:
    made, (places_NL, content_NC, vector_NV) = tower().eval(), parts()
    described_NO = made.described(places_NL, content_NC)
    assert torch.equal(made.out(described_NO, vector_NV), made.out(described_NO, 0 * vector_NV))
    assert torch.equal(made.into(content_NC, vector_NV), made.into(content_NC, 0 * vector_NV))


@torch.inference_mode()
def test_content_and_codes_tell_items_apart_each_alone() -> None:
    made, (places_NL, content_NC, _) = tower().eval(), parts()
    nothing_NV = torch.zeros(200, 6)
    by_codes = made.out(made.described(places_NL, 0 * content_NC), nothing_NV)
    by_content = made.out(made.described(0 * places_NL, content_NC), nothing_NV)
    assert by_codes.std(dim=0).min() > 0.1
    assert by_content.std(dim=0).min() > 0.1


def test_parts_are_hidden_while_learning_only() -> None:
    made, (places_NL, content_NC, _) = tower(), parts()
    whole_NO = made.eval().described(places_NL, content_NC)
    learning_NO = made.train().described(places_NL, content_NC)
    changed = float((learning_NO != whole_NO).any(dim=1).float().mean())
    assert 0.15 < changed < 0.45
