"""The bundle of a checkpoint: its tree follows the catalogue, and what its model says is of live items, or nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import cast

import msgspec
import numpy as np
import pytest

from store.checkpoints import Manifest
from store.histories import UserRow
from store.items import ItemRow
from store.requests import Request
from store.settings import Settings
from tests.trainer.worlds import NOW, TOPICS, WIDTHS, card, cards, prior, vocabulary
from trainer.items.catalog import Catalog
from trainer.items.item_learning import DAY_S
from trainer.model.beam_search import Generator
from trainer.model.decoder import Decoder, Shape
from trainer.model.item_table import FixedVectors
from trainer.model_bundle import NEWEST, ItemPopularity, ModelBundle, ModelEvidence, model_evidence, popularity_in
from trainer.semantic_ids.codebook import Codebook, zero_codebook

CARDS = list(cards().values())
REQUEST = Request(user_id="ada")


def tiny_codebook() -> Codebook:
    """Version zero, cut to the widths of the codes that the tiny world's cards bear."""
    zero = zero_codebook(Settings())
    stages = [
        replace(s, seeds_WV=s.seeds_WV[:width], price_W=s.price_W[:width], points_WD=s.points_WD[:width])
        for s, width in zip(zero.stages, WIDTHS, strict=True)
    ]
    return replace(zero, version="tiny", stages=tuple(stages))


def generator(widths: tuple[int, ...] = WIDTHS) -> Generator:
    v = vocabulary().with_widths(widths)
    return Generator(Decoder(Shape.of(v, layers=1, width=32, heads=2)).eval(), v, prior())


def with_model() -> tuple[ModelBundle, Catalog]:
    """A bundle with an unlearned model, and the catalogue that it has been told of."""
    catalog = Catalog()
    handles = [catalog.insert(one) for one in CARDS]
    vectors = FixedVectors(np.zeros((len(CARDS), 64), np.float32))
    bundle = ModelBundle(tiny_codebook(), generator=generator(), published=vectors, beams=len(CARDS))
    bundle.insert_many(handles, CARDS)
    return bundle, catalog


def said(bundle: ModelBundle, catalog: Catalog, *banned: int) -> ModelEvidence | None:
    allowed_N = catalog.live_N[: len(catalog)].copy()
    allowed_N[list(banned)] = False
    return model_evidence(bundle, REQUEST, UserRow(), catalog, allowed_N, NOW)


def test_the_tree_follows_the_catalogue_under_its_own_codebook() -> None:
    bundle = ModelBundle(book := tiny_codebook())
    own, foreign = card(1, 2), card(3, 4, codebook="another version")
    bundle.insert(0, own)
    bundle.insert(1, foreign)
    assert bundle.semantic_id(0) == own.codes
    assert bundle.semantic_id(1) == book.assign_parts([foreign.parts()])[0].tolist()
    assert TOPICS[1] in bundle.prefix_words(0, [own, foreign])
    bundle.insert(0, card(2, 7))
    assert bundle.semantic_id(0) == [2, 7, 0]
    bundle.remove(0)
    assert (bundle.semantic_id(0), bundle.prefix_words(0, [own, foreign]), 0 in bundle.tree, 1 in bundle.tree) == (
        [],
        [],
        False,
        True,
    )


def test_one_filled_at_once_is_as_one_filled_item_by_item() -> None:
    mixed = [card(n % 4, n // 4, "tiny" if n % 3 else "another version") for n in range(32)]
    at_once, one_by_one = ModelBundle(tiny_codebook()), ModelBundle(tiny_codebook())
    at_once.insert_many(range(32), mixed)
    for handle, each in enumerate(mixed):
        one_by_one.insert(handle, each)
    for handle in range(32):
        assert at_once.semantic_id(handle) == one_by_one.semantic_id(handle)
        assert at_once.prefix_words(handle, mixed) == one_by_one.prefix_words(handle, mixed)


@pytest.mark.parametrize("codes", [[0, 0], [0, 0, 0, 0], [4, 0, 0], [0, 8, 0], [-1, 0, 0]])
def test_codes_that_the_codebook_has_not_are_not_taken(codes: list[int]) -> None:
    bundle = ModelBundle(tiny_codebook())
    misfit = msgspec.structs.replace(CARDS[0], codes=codes)
    assert not bundle.takes(misfit)
    assert bundle.takes(msgspec.structs.replace(misfit, codebook="another version")), "it is assigned here"
    assert bundle.takes(CARDS[-1])


def test_what_the_model_proposes_is_live_and_may_be_returned() -> None:
    bundle, catalog = with_model()
    gone, banned = 5, 6
    catalog.remove(CARDS[gone].item_id)
    bundle.remove(gone)
    found = said(bundle, catalog, banned)
    assert found is not None
    live = set(range(len(CARDS))) - {gone}
    assert set(np.flatnonzero(np.isfinite(found.codes_N)).tolist()) == live
    assert set(found.proposed["model"].tolist()) == set(found.proposed["model_item"].tolist()) == live - {banned}
    logs = found.codes_N[found.proposed["model"]]
    assert (np.diff(logs) <= 0).all(), "the best come first"
    may = catalog.live_N[: len(CARDS)].copy()
    may[banned] = False
    assert np.exp(found.columns["model_score"][may]).sum() == pytest.approx(1.0, abs=1e-4)


def test_a_request_never_fails_with_its_model(caplog: pytest.LogCaptureFixture) -> None:
    bundle, catalog = with_model()
    bundle.generator = generator((3, 3))  # another codebook's: it has no levels for these codes
    with caplog.at_level(logging.CRITICAL):
        assert said(bundle, catalog) is None
    assert (bundle.asked, bundle.failures) == (1, 1)


def test_several_requests_are_read_together_as_each_alone() -> None:
    bundle, catalog = with_model()
    asked = [(msgspec.structs.replace(REQUEST, task=task), UserRow()) for task in ("home", "next", "notification")]
    together = bundle.expect_many(asked, catalog.handles, NOW)
    alone = [bundle.expect(request, user, catalog.handles, NOW) for request, user in asked]
    for one, other in zip(together, alone, strict=True):
        assert one.handles_M.tolist() == other.handles_M.tolist()
        assert np.allclose(one.logs_M, other.logs_M, atol=1e-5)
        assert np.allclose(one.suits_N, other.suits_N, atol=1e-5)
        assert one.gain == pytest.approx(other.gain, abs=1e-5)
    assert (bundle.asked, bundle.failures) == (6, 0)
    assert not np.allclose(together[0].suits_N, together[1].suits_N, atol=1e-5), "else nothing was told apart"


def test_one_that_fails_is_counted_and_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    bundle, catalog = with_model()
    with caplog.at_level(logging.CRITICAL):
        asked = [(REQUEST, UserRow()), (REQUEST, cast("UserRow", "no row"))]
        good, bad = bundle.expect_many(asked, catalog.handles, NOW)
    assert (len(good.handles_M), len(bad.handles_M)) == (len(CARDS), 0)
    assert (bundle.asked, bundle.failures) == (2, 1)


def test_without_a_model_nothing_is_asked() -> None:
    bundle, catalog = ModelBundle(tiny_codebook()), Catalog()
    catalog.insert(CARDS[0])
    assert said(bundle, catalog) is None
    assert (bundle.asked, bundle.failures) == (0, 0)


def test_popularity_is_the_catalogues_in_the_priors_half_life_and_unit() -> None:
    told = {"popularity.half_life_s": 2 * DAY_S, "popularity.unit": 0.5}
    manifest = Manifest(checkpoint="c", parent=None, codebook="tiny", created_at=NOW, metrics=told)
    assert popularity_in(manifest) == ItemPopularity(2 * DAY_S, 0.5)
    assert popularity_in(msgspec.structs.replace(manifest, metrics={})) == ItemPopularity()
    catalog = Catalog()
    windows = len(catalog.half_lives_s_W)
    for item_id, weight in (("often", 40.0), ("once", 1.0)):
        catalog.update(item_id, ItemRow(positives=1, popularity=[weight] * windows, decayed_at=NOW))
    catalog.update("never", ItemRow())
    often, once, never = ItemPopularity(2 * DAY_S, 1.0).logits(catalog, 3, NOW)
    assert often > once > never >= 0
    half, _, _ = ItemPopularity(2 * DAY_S, 1.0).logits(catalog, 3, NOW + 2 * DAY_S)
    other_unit, _, _ = ItemPopularity(2 * DAY_S, 2.0).logits(catalog, 3, NOW)
    assert np.expm1([half, other_unit]) == pytest.approx(np.expm1(often) / 2, rel=1e-3)


def test_it_answers_in_time_where_most_of_the_newest_answers_came_in_time() -> None:
    bundle, catalog = with_model()
    assert not bundle.answers_within(1e9), "nothing is known"
    for _ in range(NEWEST):
        said(bundle, catalog)
    bundle.forget_warming()
    assert bundle.answers_within(1e9)
    assert not bundle.answers_within(0.0)
    bundle._took_s.extend([0.01, 0.4, 0.01])
    assert bundle.answers_within(100.0), "once the machine was busy"
    bundle._took_s.append(0.4)
    assert not bundle.answers_within(100.0)
