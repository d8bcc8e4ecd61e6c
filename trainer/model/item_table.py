"""The table: what the tower makes of each item, kept by place and renewed when the item changes.

A scorer has one for each model that it holds. Content and codes are taken in when a card comes; the published vector
when it has changed, which is known by its count of changes, so nobody has to tell every table. Of an item are kept what
its content adds to a position, what codes and content say of it (both half precision) and the vector that is scored.

Invariant: after `follow` every row is a function of the newest card and the newest vector of its item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from trainer.model.decoder import Decoder
from trainer.model.item_tower import DISCOUNT, own_rows
from trainer.model.prompts import NO_ITEM, Prompt

_STRIDE = 4096
"""So many rows go through the tower at once."""


class Published(Protocol):
    """Vectors by place, and how often each has changed."""

    changes_N: np.ndarray

    def known(self, places: np.ndarray) -> np.ndarray:
        """Published vectors (N V) of some places; zeros where there is none."""
        ...


class FixedVectors:
    """Vectors that do not change: those of a corpus."""

    def __init__(self, vector_NV: np.ndarray) -> None:
        self._vector_NV = vector_NV
        self.changes_N = np.ones(len(vector_NV), np.int32)

    def known(self, places: np.ndarray) -> np.ndarray:
        return np.asarray(self._vector_NV[places], np.float32)


class ItemTable:
    """Rows by place. One writer; whoever reads calls `follow` first."""

    def __init__(self, model: Decoder, published: Published, capacity: int = 1024) -> None:
        shape = model.shape
        self.published = published
        self._model = model
        self._content_ND = np.zeros((capacity, shape.width), np.float16)
        self._described_NO = np.zeros((capacity, shape.tower.out), np.float16)
        self._seen_N = np.full(capacity, -1, np.int32)
        self.out_NO = np.zeros((capacity, shape.tower.out), np.float32)

    def describe(
        self, places: Sequence[int], codes_NL: np.ndarray, content_NC: np.ndarray, item_ids: Sequence[str]
    ) -> None:
        """Takes in what cards say of items."""
        at = np.asarray(places, np.int64)
        own_N = own_rows(item_ids, self._model.shape.tower.own)
        self._reserve(int(at.max(initial=-1)) + 1)
        model = self._model
        for start in range(0, len(at), _STRIDE):
            some = slice(start, start + _STRIDE)
            with torch.inference_mode():
                content_NC_ = torch.from_numpy(np.asarray(content_NC[some], np.float32))
                codes_NL_ = torch.from_numpy(np.asarray(codes_NL[some], np.int64))
                own_N_ = torch.from_numpy(own_N[some])
                places_NL = model.code_places(codes_NL_)
                self._content_ND[at[some]] = model.tower.described_in(content_NC_, own_N_).numpy()
                self._described_NO[at[some]] = model.tower.described(places_NL, content_NC_, own_N_).numpy()
        self._seen_N[at] = -1

    def follow(self) -> None:
        """Renews the rows whose vectors have changed, or that are new."""
        changes_N = self.published.changes_N
        size = min(len(changes_N), len(self._seen_N))
        stale = np.flatnonzero(self._seen_N[:size] != changes_N[:size])
        for start in range(0, len(stale), _STRIDE):
            at = stale[start : start + _STRIDE]
            self._seen_N[at] = changes_N[at]
            with torch.inference_mode():
                described_NO = torch.from_numpy(self._described_NO[at].astype(np.float32))
                vector_NV = torch.from_numpy(self.published.known(at))
                self.out_NO[at] = self._model.tower.out(described_NO, vector_NV).numpy()

    def inputs(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """What the tower adds to the positions of these prompts (R T D), padded to the longest."""
        longest = max(len(prompt.item_T) for prompt in prompts)
        item_RT = np.full((len(prompts), longest), NO_ITEM, np.int64)
        for row, prompt in enumerate(prompts):
            item_RT[row, : len(prompt.item_T)] = prompt.item_T
        held_RT = (item_RT != NO_ITEM) & (item_RT < len(self._content_ND))
        at = item_RT[held_RT]
        into_RTD = np.zeros((*item_RT.shape, self._content_ND.shape[1]), np.float32)
        with torch.inference_mode():
            vector_MD = self._model.tower.vector_in(torch.from_numpy(self.published.known(at))).numpy()
        into_RTD[held_RT] = self._content_ND[at].astype(np.float32) + vector_MD
        return into_RTD

    def tastes(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """The discounted mean of what each prompt's items are scored by (R O), as `ItemTower.tastes` has it at the last
        position."""
        taste_RO = np.zeros((len(prompts), self.out_NO.shape[1]), np.float32)
        for row, prompt in enumerate(prompts):
            item_L = prompt.item_T[(prompt.item_T != NO_ITEM) & (prompt.item_T < len(self.out_NO))]
            if len(item_L):
                weight_L = (DISCOUNT ** np.arange(len(item_L))[::-1]).astype(np.float32)
                taste_RO[row] = weight_L @ self.out_NO[item_L] / weight_L.sum()
        return taste_RO

    def _reserve(self, capacity: int) -> None:
        lack = capacity - len(self._seen_N)
        if lack <= 0:
            return
        lack = max(lack, len(self._seen_N))
        for name in ("_content_ND", "_described_NO", "out_NO"):
            rows = getattr(self, name)
            setattr(self, name, np.concatenate([rows, np.zeros((lack, rows.shape[1]), rows.dtype)]))
        self._seen_N = np.concatenate([self._seen_N, np.full(lack, -1, np.int32)])
