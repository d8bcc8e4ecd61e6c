"""The tower: an item is its codes, its content and its vector, and any of these alone."""

from __future__ import annotations

import numpy as np
import torch

from trainer.model.item_tower import ItemTower, TowerShape, own_rows

SHAPE = TowerShape(content=12, vector=6, out=8, own=64)
OWN_N = torch.arange(200) % 64


def tower() -> ItemTower:
    torch.manual_seed(0)
    return ItemTower(SHAPE, width=16, codes=9)


def parts(items: int = 200) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randint(0, 9, (items, 3)), torch.randn(items, 12), torch.randn(items, 6)


@torch.inference_mode()
def test_vectors_say_nothing_until_they_are_learned_from() -> None:
    made, (places_NL, content_NC, vector_NV) = tower().eval(), parts()
    described_NO = made.described(places_NL, content_NC, OWN_N)
    assert torch.equal(made.out(described_NO, vector_NV), made.out(described_NO, 0 * vector_NV))
    assert torch.equal(made.into(content_NC, vector_NV, OWN_N), made.into(content_NC, 0 * vector_NV, OWN_N))


@torch.inference_mode()
def test_content_and_codes_tell_items_apart_each_alone() -> None:
    made, (places_NL, content_NC, _) = tower().eval(), parts()
    nothing_NV = torch.zeros(200, 6)
    by_codes = made.out(made.described(places_NL, 0 * content_NC, OWN_N), nothing_NV)
    by_content = made.out(made.described(0 * places_NL, content_NC, OWN_N), nothing_NV)
    assert by_codes.std(dim=0).min() > 0.1
    assert by_content.std(dim=0).min() > 0.1


def test_parts_are_hidden_while_learning_only() -> None:
    made, (places_NL, content_NC, _) = tower(), parts()
    whole_NO = made.eval().described(places_NL, content_NC, OWN_N)
    learning_NO = made.train().described(places_NL, content_NC, OWN_N)
    changed = float((learning_NO != whole_NO).any(dim=1).float().mean())
    assert 0.15 < changed < 0.45


@torch.inference_mode()
def test_an_own_row_says_nothing_until_it_is_learned_and_then_tells_twins_apart() -> None:
    made = tower().eval()
    places_2L, content_2C, own_2 = torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 12), torch.tensor([3, 5])
    before_2O, before_2D = made.described(places_2L, content_2C, own_2), made.described_in(content_2C, own_2)
    assert torch.equal(before_2O[0], before_2O[1])
    assert torch.equal(before_2D[0], before_2D[1])
    assert made.own is not None
    made.own[5] += 0.1
    after_2O, after_2D = made.described(places_2L, content_2C, own_2), made.described_in(content_2C, own_2)
    assert torch.equal(after_2O[0], before_2O[0])
    assert (after_2O[1] != before_2O[1]).all()
    assert (after_2D[1] != before_2D[1]).any()


def test_an_item_has_the_same_row_wherever_its_id_is_met() -> None:
    rows = own_rows(["a", "b", "c"], 64)
    assert own_rows(["c", "a"], 64).tolist() == [rows[2], rows[0]]
    assert len(set(own_rows([str(n) for n in range(500)], 1 << 30).tolist())) == 500
    assert own_rows(["a", "b"], 0).tolist() == [0, 0]


def test_a_shape_without_rows_has_no_table() -> None:
    made = ItemTower(TowerShape(content=12, vector=6, out=8), width=16, codes=9).eval()
    assert not any(name.startswith("own") for name, _ in made.named_parameters())
    places_NL, content_NC, vector_NV = parts()
    assert made.described(places_NL, content_NC, OWN_N).shape == (200, 8)
    assert made.into(content_NC, vector_NV, OWN_N).shape == (200, 16)


@torch.inference_mode()
def test_what_all_items_have_in_common_counts_less_when_a_lineage_begins() -> None:
    random = np.random.default_rng(0)
    topic_N = np.arange(200) % 4
    common_C, topic_TC = 3.0 * random.standard_normal(12), random.standard_normal((4, 12))
    content_NC = common_C + topic_TC[topic_N] + 0.1 * random.standard_normal((200, 12))

    def likeness(made: ItemTower) -> tuple[float, float]:
        out_NO = torch.nn.functional.normalize(made.content_out(torch.from_numpy(content_NC).float())).numpy()
        cosine_NN, same_NN = out_NO @ out_NO.T, topic_N[:, None] == topic_N
        return float(cosine_NN[same_NN].mean()), float(cosine_NN[~same_NN].mean())

    drawn, begun = tower().eval(), tower().eval()
    begun.begin(content_NC)
    assert likeness(drawn)[1] > 0.6
    assert likeness(begun)[1] < 0.2 < 0.8 < likeness(begun)[0]
    assert not begun.content_out(torch.zeros(1, 12)).any(), "no content says nothing"


def test_with_hardly_any_content_the_projection_stays_as_it_was_drawn() -> None:
    made = tower()
    made.begin(np.concatenate([np.ones((10, 12)), np.zeros((500, 12))]))
    assert torch.equal(made.content_out.weight, tower().content_out.weight)
