"""Generative retrieval: which live items would follow, by beam search that only walks the live prefix tree.

At each level the model's probabilities are renormalised over the branches that are live below a beam, so no mass is
lost on codes that no item carries, and an item that nobody has engaged with yet is reached through the prefix it
shares with known ones (PEERS: where generative retrieval fails is that it puts no mass on unseen deep codes).

Legend: R requests, M beams of all requests together, N live branches below them, V codes of a level.

Invariant: only leaves of the tree that was passed are returned, each once; within a request their probabilities sum to
at most one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.model.branch_prior import BranchPrior
from trainer.model.decoder import Cache, Decoder
from trainer.model.item_table import ItemTable
from trainer.model.prompts import Prompt, prompt_for
from trainer.model.vocabulary import BEGIN, Vocabulary


class Tree(Protocol):
    """What decoding needs of `store.memory.prefix_tree.PrefixTree`: the root is node 0."""

    def children(self, nodes_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All children of some nodes: (index into `nodes_B`, code, child node), each of shape (N,)."""
        ...


Leaves = list[tuple[int, float]]
"""Leaf nodes with their log-probability, best first."""


@dataclass(frozen=True, slots=True)
class Generator:
    """A model and its vocabulary, ready to answer. Safe to share between threads: nothing here changes."""

    model: Decoder
    vocabulary: Vocabulary
    prior: BranchPrior

    def read(self, prompts: Sequence[Prompt], table: ItemTable | None = None) -> Tensor:
        """What is asked of the model (R D) for each prompt: one pass of the trunk over all of them. With a `table`,
        whose places the prompts name, items are read as what they now are; without, by their codes alone."""
        longest = max(len(prompt.tokens_TK) for prompt in prompts)
        tokens_RTK = np.zeros((len(prompts), longest, self.vocabulary.slots), np.int64)
        for row, prompt in enumerate(prompts):
            tokens_RTK[row, : len(prompt.tokens_TK)] = prompt.tokens_TK
        last_R = torch.tensor([len(prompt.tokens_TK) - 1 for prompt in prompts])
        with torch.inference_mode():
            items_RTD = None if table is None else torch.from_numpy(table.inputs(prompts))
            state_RTD = self.model.trunk(torch.from_numpy(tokens_RTK), items_BTD=items_RTD)
            ask_RA = torch.from_numpy(np.stack([prompt.ask for prompt in prompts]))
            return self.model.ask(state_RTD[torch.arange(len(prompts)), last_R], ask_RA)

    def generate(
        self, prompts: Sequence[Prompt], tree: Tree, beams: int, table: ItemTable | None = None
    ) -> list[Leaves]:
        """The `beams` best leaves for each prompt."""
        return self.search(self.read(prompts, table), tree, beams)

    def search(self, asked_RD: Tensor, tree: Tree, beams: int) -> list[Leaves]:
        """The `beams` best leaves for each that was `read`."""
        with torch.inference_mode():
            return self._search(asked_RD, tree, beams)

    def suits(self, prompts: Sequence[Prompt], asked_RD: Tensor, table: ItemTable) -> tuple[np.ndarray, np.ndarray]:
        """How much more than its popularity every item of the table suits (R N), and how much popularity counts (R):
        the score of an item is the first plus the second times its logit in the prior."""
        table.follow()
        with torch.inference_mode():
            query_RO, gain_R1 = self.model.tower.asks(asked_RD, torch.from_numpy(table.tastes(prompts)))
        suits_RN: np.ndarray = query_RO.numpy() @ table.out_NO.T
        return suits_RN, gain_R1.numpy()[:, 0]

    def score(self, prompt: Prompt, codes_NL: np.ndarray) -> np.ndarray:
        """Log-probabilities (N) of these items, not renormalised: how likely the model finds each, live or not."""
        scores_N: np.ndarray = self.score_batch([prompt], codes_NL)[0]
        return scores_N

    def score_batch(self, prompts: Sequence[Prompt], codes_NL: np.ndarray) -> np.ndarray:
        """Log-probabilities (R N) of the same items for several prompts."""
        asked_RD = self.read(prompts)
        with torch.inference_mode():
            scores_RN: np.ndarray = np.stack([self.log_probabilities(asked_D[None], codes_NL) for asked_D in asked_RD])
            return scores_RN

    def describe(self, codes: Sequence[int], limit: int = 24) -> str:
        """The words that the model has for a semantic ID (or its first codes): greedy, over cached positions."""
        tokens: list[int] = []
        with torch.inference_mode():
            cache = Cache([], [])
            prompt = [[BEGIN], self.vocabulary.semantic(codes)]
            state_D = self._next(prompt, cache)
            while len(tokens) < limit:
                best = int(self.model.text_logits(state_D[None])[0].argmax())
                if best == self.vocabulary.text_size:
                    break
                tokens.append(self.vocabulary.text_begin + best)
                state_D = self._next([[tokens[-1]]], cache)
        return self.vocabulary.words(tokens).strip()

    def dry_run(self) -> None:
        """Raises ValueError unless the model answers with finite numbers and fits its vocabulary."""
        if self.model.shape.tokens != self.vocabulary.size or self.model.shape.widths != self.vocabulary.widths:
            raise ValueError("the model's shape is not its vocabulary's: the folder mixes two checkpoints; restore it")
        prompt = prompt_for(self.vocabulary, task="search", now=0.0, query="a dry run")
        codes_NL = np.zeros((1, self.vocabulary.levels), np.int64)
        query_1O = self.model.tower.asks(self.read([prompt]), torch.zeros(1, self.model.shape.tower.out))[0]
        if not np.isfinite(self.score(prompt, codes_NL)).all() or not torch.isfinite(query_1O).all():
            raise ValueError("the model answers with numbers that are not finite: train again, or roll back")

    def _next(self, positions: list[list[int]], cache: Cache) -> Tensor:
        tokens_TK = torch.zeros(len(positions), self.vocabulary.slots, dtype=torch.long)
        for row, tokens in enumerate(positions):
            tokens_TK[row, : len(tokens)] = torch.tensor(tokens)
        return self.model.trunk(tokens_TK[None], cache)[0, -1]

    def _search(self, asked_RD: Tensor, tree: Tree, beams: int) -> list[Leaves]:
        R = len(asked_RD)
        owner_M = np.arange(R)
        node_M = np.zeros(R, np.int64)
        score_M = np.zeros(R)
        path_M = np.zeros(R, np.int64)
        gain_RL = self.model.gains(asked_RD).numpy()
        chosen_MD: Tensor | None = None
        for level, width in enumerate(self.vocabulary.widths):
            logits_MV = self.model.code_logits(asked_RD[torch.from_numpy(owner_M)], chosen_MD, level).numpy()
            parent_N, code_N, child_N = tree.children(node_M)
            path_N = path_M[parent_N] * width + code_N
            prior_N = gain_RL[owner_M[parent_N], level] * self.prior.branches(level, path_N)
            logit_N = logits_MV[parent_N, code_N] + prior_N
            score_N = score_M[parent_N] + live_log_probabilities(logit_N, parent_N, len(node_M))
            best = best_per_owner(owner_M[parent_N], score_N, beams)
            owner_M, node_M, score_M = owner_M[parent_N[best]], np.asarray(child_N)[best], score_N[best]
            path_M = path_N[best]
            if level + 1 < self.vocabulary.levels:
                table_VD = self.model.level_table(level)[0]
                embedded_MD = F.embedding(torch.from_numpy(np.asarray(code_N)[best].astype(np.int64)), table_VD)
                before_MD = None if chosen_MD is None else chosen_MD[torch.from_numpy(parent_N[best].astype(np.int64))]
                chosen_MD = embedded_MD if before_MD is None else before_MD + embedded_MD
        found: list[Leaves] = [[] for _ in range(R)]
        for owner, node, score in zip(owner_M.tolist(), node_M.tolist(), score_M.tolist(), strict=True):
            found[owner].append((node, score))
        return found

    @torch.inference_mode()
    def log_probabilities(self, asked_1D: Tensor, codes_NL: np.ndarray) -> np.ndarray:
        """Of given items (N), for one that was `read`. Shared prefixes are computed once: the rows of a level are its
        distinct prefixes."""
        total_N = np.zeros(len(codes_NL))
        prefix_N, path_P = np.zeros(len(codes_NL), np.int64), np.zeros(1, np.int64)
        gain_L = self.model.gains(asked_1D)[0]
        chosen_PD: Tensor | None = None
        for level, width in enumerate(self.vocabulary.widths):
            logits_PV = self.model.code_logits(asked_1D.expand(len(path_P), -1), chosen_PD, level)
            logits_PV = logits_PV + gain_L[level] * torch.from_numpy(self.prior.rows(level, path_P))
            logp_PV = F.log_softmax(logits_PV, dim=-1).numpy()
            code_N = codes_NL[:, level]
            total_N += logp_PV[prefix_N, code_N]
            distinct_P, prefix_next_N = np.unique(prefix_N * width + code_N, return_inverse=True)
            embedded_PD = F.embedding(torch.from_numpy(distinct_P % width), self.model.level_table(level)[0])
            before_PD = None if chosen_PD is None else chosen_PD[torch.from_numpy(distinct_P // width)]
            chosen_PD = embedded_PD if before_PD is None else before_PD + embedded_PD
            path_P = path_P[distinct_P // width] * width + distinct_P % width
            prefix_N = prefix_next_N
        return total_N


def live_log_probabilities(logit_N: np.ndarray, parent_N: np.ndarray, parents: int) -> np.ndarray:
    """Log-probabilities (N) of the branches, renormalised over the live branches of each parent."""
    logit_N = logit_N.astype(np.float64)
    highest_M = np.full(parents, -np.inf)
    np.maximum.at(highest_M, parent_N, logit_N)
    shifted_N = logit_N - highest_M[parent_N]
    total_M = np.bincount(parent_N, np.exp(shifted_N), minlength=parents)
    out_N: np.ndarray = shifted_N - np.log(total_M[parent_N])
    return out_N


def best_per_owner(owner_N: np.ndarray, score_N: np.ndarray, keep: int) -> np.ndarray:
    """Indices of the `keep` best of each owner, owners in order, best first; ties by place."""
    order = np.lexsort((-score_N, owner_N))
    sorted_N = owner_N[order]
    rank_N = np.arange(len(order)) - np.searchsorted(sorted_N, sorted_N)
    kept: np.ndarray = order[rank_N < keep]
    return kept
