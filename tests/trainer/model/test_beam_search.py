"""Constrained beam search: equal to exhaustive search, only live leaves, whole mass on the live ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.memory.prefix_tree import PrefixTree
from tests.trainer.worlds import NOW, WIDTHS, prior, vocabulary
from trainer.model.beam_search import Generator, best_per_owner, live_log_probabilities
from trainer.model.decoder import Decoder, Shape
from trainer.model.prompts import Past, Prompt, prompt_for


def generator(seed: int = 0) -> Generator:
    v = vocabulary()
    return Generator(Decoder(Shape.of(v, layers=2, width=32, heads=2), seed).eval(), v, prior())


def prompt(*items: int, query: str | None = None) -> Prompt:
    history = [Past([item % 4, item % 8, 0], 1, NOW + 60.0 * place) for place, item in enumerate(items)]
    return prompt_for(vocabulary(), task="home", now=NOW + 1e4, history=history, query=query)


def tree_of(codes: list[tuple[int, int, int]]) -> PrefixTree:
    tree = PrefixTree(WIDTHS)
    for item, path in enumerate(codes):
        tree.insert(item, path)
    return tree


paths = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 3)), min_size=1, max_size=40)


def live_reference(made: Generator, asked: Prompt, codes: list[tuple[int, int, int]]) -> dict[tuple[int, ...], float]:
    """Renormalised log-probabilities of all live paths, straight from the definition: the share of a prefix among its
    live siblings is the ratio of what the model gives each."""
    every = np.array([[a, b, c] for a in range(4) for b in range(8) for c in range(4)])
    probability = dict(zip(map(tuple, every.tolist()), np.exp(made.score(asked, every)), strict=True))

    def mass(prefix: tuple[int, ...]) -> float:
        return float(sum(p for path, p in probability.items() if path[: len(prefix)] == prefix))

    live = set(codes)
    found = {}
    for path in live:
        total = 0.0
        for depth in (1, 2, 3):
            siblings = {other[:depth] for other in live if other[: depth - 1] == path[: depth - 1]}
            total += np.log(mass(path[:depth]) / sum(mass(sibling) for sibling in siblings))
        found[path] = total
    return found


@settings(max_examples=8, deadline=None)
@given(paths)
def test_a_wide_beam_is_exhaustive_search(codes: list[tuple[int, int, int]]) -> None:
    made, asked, tree = generator(), prompt(1, 2, 3), tree_of(codes)
    leaves = made.generate([asked], tree, 200)[0]
    reference = live_reference(made, asked, codes)
    path_of = {tree.find(path): path for path in codes}
    got = {path_of[node]: score for node, score in leaves}
    assert got.keys() == reference.keys()
    assert all(got[path] == pytest.approx(reference[path], abs=1e-3) for path in got)
    assert np.exp([score for _, score in leaves]).sum() == pytest.approx(1.0, abs=1e-3)
    assert [s for _, s in leaves] == sorted((s for _, s in leaves), reverse=True)


@settings(max_examples=15, deadline=None)
@given(paths, st.integers(1, 5))
def test_a_narrow_beam_returns_live_leaves_once(codes: list[tuple[int, int, int]], beams: int) -> None:
    made, tree = generator(), tree_of(codes)
    leaves = made.generate([prompt(5)], tree, beams)[0]
    assert 1 <= len(leaves) <= beams
    assert len({node for node, _ in leaves}) == len(leaves)
    assert {node for node, _ in leaves} <= {tree.find(path) for path in codes}


def test_a_batch_answers_as_each_alone() -> None:
    made = generator()
    tree = tree_of([(a, b, 0) for a in range(4) for b in range(8)])
    prompts = [prompt(), prompt(1, 2, 3, 4), prompt(7, query="all about cats")]
    together = made.generate(prompts, tree, 6)
    for one, answer in zip(prompts, together, strict=True):
        alone = made.generate([one], tree, 6)[0]
        assert [node for node, _ in alone] == [node for node, _ in answer]
        assert np.allclose([s for _, s in alone], [s for _, s in answer], atol=1e-4)


def test_an_empty_tree_has_no_answer() -> None:
    assert generator().generate([prompt(1)], PrefixTree(WIDTHS), 8) == [[]]


def test_scores_are_log_probabilities_over_all_codes() -> None:
    made = generator()
    every = np.array([[a, b, c] for a in range(4) for b in range(8) for c in range(4)])
    scores = made.score(prompt(1, 2), every)
    assert np.exp(scores).sum() == pytest.approx(1.0, abs=1e-3)
    shuffled = np.random.default_rng(0).permutation(len(every))
    assert np.allclose(made.score(prompt(1, 2), every[shuffled]), scores[shuffled], atol=1e-4)


def test_dead_branches_get_nothing_and_extreme_logits_do_no_harm() -> None:
    logits = np.array([[500.0, -500.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    parent_N, code_N = np.array([0, 0, 1]), np.array([1, 2, 0])
    out = live_log_probabilities(logits[parent_N, code_N], parent_N, 2)
    assert out[0] == pytest.approx(-500.0)
    assert out[1] == pytest.approx(0.0)
    assert out[2] == 0.0


def test_the_best_are_kept_for_each_owner() -> None:
    kept = best_per_owner(np.array([0, 1, 0, 1, 0]), np.array([0.1, 5.0, 0.3, 4.0, 0.2]), 2)
    assert kept.tolist() == [2, 4, 1, 3]


def test_a_dry_run_finds_a_mixed_or_broken_model() -> None:
    made = generator()
    made.dry_run()
    with pytest.raises(ValueError, match="two checkpoints"):
        Generator(made.model, vocabulary().with_widths((4, 8, 5)), prior()).dry_run()
    made.model.embedding.weight.data[:] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        made.dry_run()


def test_words_come_out_for_codes() -> None:
    assert isinstance(generator().describe([1, 2]), str)
