"""Codebooks: version zero, exactness of assignment, suffixes."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from store.settings import Settings, settings_from
from tests.trainer.semantic_ids.small_codebooks import KINDS, WORD_COUNT, learned_codebook, parts_of, some_codebook
from trainer.content.exact_sums import on_grid
from trainer.semantic_ids.codebook import Codebook, outgrown, suffix_of, widths_for, zero_codebook
from trainer.semantic_ids.training import train_codebook
from trainer.semantic_ids.word_map import WORDS


@pytest.fixture(params=KINDS)
def book(request: pytest.FixtureRequest) -> Codebook:
    return some_codebook(request.param)


@settings(deadline=None, max_examples=40)
@given(order=strategies.permutations(range(24)), cut=strategies.integers(1, 23), kind=strategies.sampled_from(KINDS))
def test_codes_do_not_depend_on_the_batch(order: list[int], cut: int, kind: str) -> None:
    """The same item has the same codes in any batch, in any order, with any company."""
    book = some_codebook(kind)
    parts = parts_of(24)
    codes = book.assign_parts(parts)
    mixed = [parts[index] for index in order]
    split = np.concatenate([book.assign_parts(mixed[:cut]), book.assign_parts(mixed[cut:])])
    np.testing.assert_array_equal(split, codes[order])


@settings(deadline=None, max_examples=30)
@given(strategies.integers(0, 2**31), strategies.integers(1, 5))
def test_sums_are_exact_in_any_order(seed: int, parts: int) -> None:
    """What makes assignment independent of BLAS and processor: permuting the summed dimension changes no bit."""
    book = learned_codebook()
    random = np.random.default_rng(seed)
    x_NI = on_grid(random.standard_normal((parts, 32)))
    order = random.permutation(32)
    text = book.maps["text"]
    permuted = replace(text, mean_I=text.mean_I[order], content_IC=text.content_IC[order])
    np.testing.assert_array_equal(permuted(x_NI[:, order]), text(x_NI))


def test_fused_rows_are_unit_or_zero_and_one_width_whatever_is_given(book: Codebook) -> None:
    x_ND = book.fuse(parts_of(40))
    assert x_ND.shape == (40, book.dimensions)
    assert x_ND.dtype == np.float32
    norms = np.linalg.norm(x_ND, axis=1)
    assert set(np.flatnonzero(norms == 0)) == set(range(3, 40, 4))
    np.testing.assert_allclose(norms[norms > 0], 1.0, atol=1e-3)


def test_a_missing_modality_leaves_the_item_on_its_side(book: Codebook) -> None:
    """Without its visual part an item is still nearest to itself among many others."""
    random = np.random.default_rng(5)
    whole = [{"text": random.standard_normal(32), "visual": random.standard_normal(8)} for _ in range(50)]
    bare = [{"text": part["text"]} for part in whole]
    similarity = book.fuse(bare) @ book.fuse(whole).T
    itself = np.diag(similarity).mean()
    assert itself > 0.5 > 0.3 > abs(similarity[~np.eye(50, dtype=bool)].mean())


def test_words_move_an_item_and_unknown_ones_do_not() -> None:
    book = learned_codebook(worded=True)
    assert book.words is not None
    silent = replace(
        book, words=replace(book.words, meaning_VA=book.words.meaning_VA * (np.arange(WORD_COUNT) != 3)[:, None])
    )
    text = {"text": np.ones(32, "f2")}
    said, unsaid = ({**text, WORDS: np.array(buckets, "u2")} for buckets in ([3], []))
    assert (book.fuse([said]) != book.fuse([unsaid])).any()
    np.testing.assert_array_equal(silent.fuse([said]), silent.fuse([unsaid]))
    np.testing.assert_array_equal(silent.fuse([unsaid]), silent.fuse([text]))


def test_a_modality_that_a_learned_version_does_not_know_is_passed_over() -> None:
    book = learned_codebook()
    text = np.ones(32, "f2")
    np.testing.assert_array_equal(book.fuse([{"text": text, "smell": np.ones(3)}]), book.fuse([{"text": text}]))
    for unknown in ({"text": np.ones(5)}, {"smell": np.ones(3)}):  # but an item that has nothing else gets a row by it
        assert book.fuse([unknown]).any()


def test_version_zero_keeps_near_items_near() -> None:
    book = zero_codebook(Settings())
    random = np.random.default_rng(0)
    a = random.standard_normal((400, 256))
    near, far = a + 0.2 * random.standard_normal(a.shape), random.standard_normal(a.shape)
    codes = [book.assign_parts([{"text": row} for row in rows])[:, 0] for rows in (a, near, far)]
    assert (codes[0] == codes[1]).mean() > 20 * max((codes[0] == codes[2]).mean(), 0.004)


def test_version_zero_follows_the_settings() -> None:
    made = zero_codebook(settings_from({"codebook": {"levels": 4, "width": 64, "halving": True}}))
    assert made.widths == (64, 32, 16, 8)
    assert made.version == "codebook-000000-zero"
    assert made.sequence == 0
    other = zero_codebook(settings_from({"codebook": {"seed": 1}}))
    assert (other.assign_parts(parts_of(8)) != zero_codebook(Settings()).assign_parts(parts_of(8))).any()


def test_the_number_of_codes_follows_the_catalogue() -> None:
    default = Settings()
    assert [widths_for(default, items) for items in (0, 3, 240, 4096, 10**6)] == [
        *((2, 12, 12), (2, 20, 20), (15, 64, 64), (256, 256, 256), (256, 256, 256)),
    ]
    assert widths_for(default, 240, first=5) == (5, 111, 111), (
        "later levels tell apart what fewer topics leave together"
    )
    halved = settings_from({"codebook": {"width": 1024, "halving": True, "levels": 2}})
    assert widths_for(halved, 100_000) == (1024, 512)


def test_a_version_is_outgrown_by_four_times_the_items_and_at_last_by_a_full_catalogue() -> None:
    def made_of(items: int, width: int) -> Codebook:
        return replace(zero_codebook(settings_from({"codebook": {"width": width}})), about={"items": items})

    small = made_of(500, 31)
    assert [outgrown(small, items, Settings()) for items in (500, 1900, 2000)] == [False, False, True]
    assert [outgrown(made_of(2000, 125), items, Settings()) for items in (4000, 4096)] == [False, True]
    assert not outgrown(made_of(500, 256), 10**6, Settings()), "a version that has all codes is full whatever it was"
    assert not outgrown(zero_codebook(settings_from({"codebook": {"width": 4}})), 10**6, Settings())


def test_no_items_are_no_codes(book: Codebook) -> None:
    assert book.assign_parts([]).shape == (0, book.levels)


def test_reconstruction_improves_with_each_level() -> None:
    book = zero_codebook(Settings())
    x_ND = book.fuse([{"text": row} for row in np.random.default_rng(0).standard_normal((200, 256))])
    codes = book.assign(x_ND)
    errors = [np.square(x_ND - book.reconstruct(codes[:, :depth])).sum(axis=1).mean() for depth in range(4)]
    assert errors == sorted(errors, reverse=True)
    np.testing.assert_allclose(book.quantization_error(x_ND).mean(), errors[-1], rtol=1e-6)


def test_suffixes_are_stable_and_spread() -> None:
    assert suffix_of("item-1") == suffix_of("item-1") == 1680287243
    suffixes = {suffix_of(str(number)) for number in range(20_000)}
    assert len(suffixes) > 19_990
    assert all(0 <= suffix < 2**31 for suffix in suffixes)


@pytest.mark.parametrize("kind", ["zero", "learned"])
def test_fifty_thousand_vectors_a_second_of_processor_time(kind: str) -> None:
    """By CPU time: what the neighbours on a machine do is not ours to test. `bench.codebook` has the clocks side by
    side."""
    book = zero_codebook(Settings())
    parts = [{"text": row} for row in np.random.default_rng(0).standard_normal((8192, 256))]
    if kind == "learned":
        book = train_codebook(parts[:1500], list(np.arange(1500).reshape(15, 100)), Settings())
        assert book.about["method"] == "aligned"
    x_ND = book.fuse(parts)
    best_s = float("inf")
    for _ in range(5):
        start = time.process_time()
        book.assign(x_ND)
        best_s = min(best_s, time.process_time() - start)
    assert len(x_ND) / best_s > 50_000
