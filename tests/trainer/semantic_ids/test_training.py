"""Training codebooks: a synthetic population with topics that content shows, and tastes that only behaviour shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from store.settings import Settings, settings_from
from trainer.content.vectors import NO_CONTENT
from trainer.semantic_ids.alignment import pairs_of
from trainer.semantic_ids.codebook import Codebook, zero_codebook
from trainer.semantic_ids.health import health_of, told
from trainer.semantic_ids.training import churn, train_codebook
from trainer.semantic_ids.word_map import WORDS

SMALL = settings_from({"codebook": {"levels": 3, "width": 64}})


@dataclass(frozen=True)
class World:
    """Items with content; their audience is decided by a few weak directions of it."""

    parts: list[dict[str, np.ndarray]]
    taste_N: np.ndarray
    sequences: list[np.ndarray]
    fresh: list[dict[str, np.ndarray]]
    fresh_taste_M: np.ndarray


@pytest.fixture(scope="module")
def world() -> World:
    random = np.random.default_rng(0)
    topics, tastes = random.standard_normal((40, 48)), 0.6 * random.standard_normal((8, 48))

    def items(number: int) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
        taste = random.integers(0, 8, number)
        x = topics[random.integers(0, 40, number)] + tastes[taste] + 0.3 * random.standard_normal((number, 48))
        return [{"text": (row / np.linalg.norm(row)).astype("f2")} for row in x], taste

    parts, taste_N = items(1500)
    by_taste = [np.flatnonzero(taste_N == taste) for taste in range(8)]
    sequences = [random.choice(by_taste[user % 8], 8) for user in range(400)]
    fresh, fresh_taste_M = items(300)
    return World(parts, taste_N, sequences, fresh, fresh_taste_M)


@pytest.fixture(scope="module")
def books(world: World) -> dict[str, Codebook]:
    return {
        method: train_codebook(world.parts, world.sequences, SMALL, method=method)  # type: ignore[arg-type]
        for method in ("kmeans", "rqvae", "aligned")
    }


def agreement(book: Codebook, parts: list[dict[str, np.ndarray]], taste_N: np.ndarray) -> float:
    """Of pairs with one first code, how many are of one taste (chance: 1/8)."""
    code_N = book.assign_parts(parts)[:, 0]
    same = code_N[:, None] == code_N[None]
    np.fill_diagonal(same, False)
    return float((taste_N[:, None] == taste_N[None])[same].mean())


def test_learned_levels_are_used_evenly_and_tell_items_apart(world: World, books: dict[str, Codebook]) -> None:
    for book in books.values():
        health = health_of(book, book.assign_parts(world.parts), world.parts, world.fresh)
        assert health.distinct > 0.9
        assert all(level.perplexity > 0.6 * level.codes for level in health.levels)
        assert health.drift < 1.3


def test_learned_fits_better_than_version_zero(world: World, books: dict[str, Codebook]) -> None:
    zero = zero_codebook(SMALL)
    error = {name: float(b.quantization_error(b.fuse(world.fresh)).mean()) for name, b in books.items()}
    assert max(error.values()) < 0.8 * float(zero.quantization_error(zero.fuse(world.fresh)).mean())


def test_aligned_codes_follow_behaviour_on_items_nobody_has_touched(world: World, books: dict[str, Codebook]) -> None:
    aligned = agreement(books["aligned"], world.fresh, world.fresh_taste_M)
    content = agreement(books["kmeans"], world.fresh, world.fresh_taste_M)
    assert aligned > content + 0.15


def test_equal_seeds_give_equal_versions(world: World, books: dict[str, Codebook]) -> None:
    assert books["aligned"].about["method"] == "aligned"
    for method in ("kmeans", "aligned"):
        again = train_codebook(world.parts, world.sequences, SMALL, method=method)  # type: ignore[arg-type]
        assert again.version == books[method].version
        np.testing.assert_array_equal(again.assign_parts(world.fresh), books[method].assign_parts(world.fresh))


def test_a_refresh_keeps_most_codes_and_a_new_training_does_not(world: World, books: dict[str, Codebook]) -> None:
    parent = books["aligned"]
    grown = world.parts + world.fresh
    refreshed = train_codebook(grown, world.sequences, SMALL, parent=parent, seed=1)
    other = books["kmeans"]
    anew = train_codebook(grown, [], SMALL, parent=other, method="kmeans", anew=True)
    kept = churn(parent.assign_parts(world.parts), refreshed.assign_parts(world.parts))
    lost = churn(other.assign_parts(world.parts), anew.assign_parts(world.parts))
    assert kept[0] < 0.15
    assert kept[-1] < 0.3
    fresh_error = [float(book.quantization_error(book.fuse(world.fresh)).mean()) for book in (parent, refreshed)]
    assert fresh_error[1] < fresh_error[0]
    assert lost[0] > 0.9
    assert kept == sorted(kept)
    assert refreshed.version > parent.version
    assert refreshed.about["parent"] == parent.version
    assert refreshed.about["refreshed"]


def test_without_behaviour_it_is_trained_on_content_and_says_so(world: World) -> None:
    book = train_codebook(world.parts, [], SMALL)
    assert book.about["method"] == "kmeans"
    assert book.version.startswith("codebook-000001-")
    assert book.version > zero_codebook(SMALL).version


def test_given_modalities_missing_ones_and_items_without_content_all_get_codes(world: World) -> None:
    random = np.random.default_rng(1)
    parts = []
    for index, part in enumerate(world.parts[:600]):
        visual = {"visual": random.standard_normal(16).astype("f2")}
        parts.append([part, visual, part | visual, {NO_CONTENT: random.standard_normal(24).astype("f2")}][index % 4])
    for method in ("kmeans", "aligned"):
        book = train_codebook(parts, [s[s < 600] for s in world.sequences], SMALL, method=method)  # type: ignore[arg-type]
        norms = np.linalg.norm(book.fuse([*parts, {"smell": np.ones(3)}]), axis=1)
        np.testing.assert_allclose(norms, 1.0, atol=1e-3)
        assert len(np.unique(book.assign_parts(parts), axis=0)) > 500


def test_words_that_tell_of_taste_place_untouched_items_better(world: World, books: dict[str, Codebook]) -> None:
    def worded(parts: list[dict[str, np.ndarray]], taste_N: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Three words each: two by chance, and one of those that its taste prefers."""
        random = np.random.default_rng(7)
        drawn = [[*random.integers(0, 500, 2), 1000 + 10 * taste + random.integers(10)] for taste in taste_N.tolist()]
        return [{**part, WORDS: np.array(sorted(set(words)), "u2")} for part, words in zip(parts, drawn, strict=True)]

    random = np.random.default_rng(8)
    parts = [{"text": random.standard_normal(48).astype("f2")} for _ in world.parts]  # text knows nothing of taste
    fresh = [{"text": random.standard_normal(48).astype("f2")} for _ in world.fresh]
    book = train_codebook(worded(parts, world.taste_N), world.sequences, SMALL)
    assert book.words is not None
    assert agreement(book, worded(fresh, world.fresh_taste_M), world.fresh_taste_M) > 0.5
    assert agreement(book, fresh, world.fresh_taste_M) < 0.2
    unknown = [{**part, WORDS: np.array([8000], "u2")} for part in fresh]
    np.testing.assert_array_equal(book.assign_parts(unknown), book.assign_parts(fresh))
    refreshed = train_codebook(worded(parts, world.taste_N), world.sequences, SMALL, parent=book)
    assert refreshed.words is book.words


def test_a_modality_that_came_later_is_named_by_a_refresh_and_taken_in_anew(
    world: World, books: dict[str, Codebook]
) -> None:
    random = np.random.default_rng(0)
    grown = [{**part, "visual": random.standard_normal(8).astype("f2")} for part in world.parts]
    refreshed = train_codebook(grown, [], SMALL, parent=books["kmeans"], method="kmeans")
    assert refreshed.about["unmapped"] == ["visual"]
    assert "visual" in told(health_of(refreshed, refreshed.assign_parts(grown), [], []))[-1]
    anew = train_codebook(grown, [], SMALL, parent=books["kmeans"], method="kmeans", anew=True)
    assert anew.about["unmapped"] == []
    assert "visual" in anew.maps


def test_progress_is_told(world: World) -> None:
    told: list[tuple[str, float]] = []
    train_codebook(
        world.parts[:200], [], SMALL, method="kmeans", progress=lambda what, share: told.append((what, share))
    )
    assert told[-1] == ("level 3 of 3", 1.0)


def test_items_unlike_those_before_show_as_drift(world: World, books: dict[str, Codebook]) -> None:
    book = books["kmeans"]
    random = np.random.default_rng(3)
    strange = [{"text": row.astype("f2")} for row in random.standard_normal((200, 48)) / 7]
    health = health_of(book, book.assign_parts(strange), world.parts, strange)
    assert health.drift > 1.5
    assert health.refresh_due


def test_few_items_are_enough() -> None:
    for number in (0, 1, 5):
        parts = [{"text": np.eye(8)[i].astype("f2")} for i in range(number)]
        book = train_codebook(parts, [], Settings())
        assert book.assign_parts(parts).shape == (number, 3)


def tight(number: int, kinds: int = 5) -> list[dict[str, np.ndarray]]:
    """Items of a few kinds, each of them much alike."""
    random = np.random.default_rng(1)
    centre_KD = random.standard_normal((kinds, 128))
    rows_ND = centre_KD[np.arange(number) % kinds] + 0.2 * random.standard_normal((number, 128))
    return [{"visual": row.astype("f2")} for row in rows_ND]


@pytest.mark.parametrize("number", [100, 240, 1500])
def test_items_of_a_tight_kind_share_their_first_code(number: int) -> None:
    """With 256 first codes each of 240 items had one of its own."""
    parts = tight(number)
    codes_NL = train_codebook(parts, [], Settings()).assign_parts(parts)
    same_NN = codes_NL[:, :1] == codes_NL[:, 0]
    kind_N = np.arange(number) % 5
    alike_NN = kind_N[:, None] == kind_N
    assert same_NN[alike_NN & ~np.eye(number, dtype=bool)].mean() > 0.3
    assert same_NN[~alike_NN].mean() < 0.02
    assert len(np.unique(codes_NL, axis=0)) > 0.7 * number


def test_a_small_catalogue_uses_every_level(world: World) -> None:
    """With 256 codes each, level 3 of 300 items had one in use."""
    parts = world.parts[:300]
    book = train_codebook(parts, [], Settings())
    health = health_of(book, book.assign_parts(parts), parts, [])
    assert book.widths[0] <= 300 // 16
    assert all(level.perplexity > 0.5 * level.codes for level in health.levels)
    assert health.distinct > 0.9


def test_the_same_content_a_thousand_times_needs_few_codes() -> None:
    random = np.random.default_rng(0)
    same = {"text": random.standard_normal(64).astype("f2")}
    empty = [{NO_CONTENT: random.standard_normal(24).astype("f2")} for _ in range(300)]
    parts = [*([same] * 700), *empty]
    codes_NL = train_codebook(parts, [], Settings()).assign_parts(parts)
    assert len(np.unique(codes_NL[:700], axis=0)) == 1
    assert len(np.unique(codes_NL[700:], axis=0)) > 200


def test_a_refresh_keeps_the_number_of_codes_and_other_settings_do_not(world: World) -> None:
    parent = train_codebook(world.parts[:400], [], Settings())
    refreshed = train_codebook(world.parts[:600], [], Settings(), parent=parent)
    assert (refreshed.widths, refreshed.about["refreshed"]) == (parent.widths, True)
    wider = settings_from({"codebook": {"width": 512}})
    assert not train_codebook(world.parts[:600], [], wider, parent=parent).about["refreshed"]


def test_pairs_are_of_different_items_and_sum_to_one() -> None:
    pairs = pairs_of([np.array([1, 1, 2, 3]), [4], []])
    assert (pairs.earlier_P != pairs.later_P).all()
    assert pairs.chance_P.sum() == pytest.approx(1.0)
    assert {(1, 2), (2, 3), (1, 3)} == set(zip(pairs.earlier_P.tolist(), pairs.later_P.tolist(), strict=True))


def test_churn_is_cumulative() -> None:
    assert churn(np.array([[1, 2], [1, 2]]), np.array([[1, 2], [9, 2]])) == [0.5, 0.5]
