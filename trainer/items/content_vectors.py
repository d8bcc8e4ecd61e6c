"""Content vectors of a catalogue: what each live item's card says, through one projection that is fitted as it grows.

Invariant: all rows were made by the projection that is held, or are placed anew once `adopt` has exchanged it.
"""

from __future__ import annotations

import numpy as np

from trainer.content.projection import (
    RAW_WIDTH,
    ContentProjection,
    first_projection,
    fit_projection,
    raw_of,
    raw_of_text,
)
from trainer.items.byte_vectors import ByteVectors
from trainer.items.catalog import Catalog

SAMPLE = 4000
"""A projection is fitted to so many items, spread evenly over the catalogue."""
STRIDE = 1000
"""So many are projected at once."""
GROWTH = 0.02
"""With that many more cards a refit projects all of them anew."""


class ContentVectors:
    """Content by handle of `catalog`: unit rows `x_NC`, zero for an item that says nothing."""

    def __init__(self, catalog: Catalog, width: int = 128) -> None:
        self.catalog, self.width = catalog, width
        self.projection = first_projection(width)
        self.x_NC = ByteVectors(len(catalog.live_N), width)
        self._fitted_at = 0

    def describe(self, handle: int) -> bool:
        """Takes over an item's new card; False if it has none."""
        self.reserve()
        card = self.catalog.cards[handle]
        if card is None:
            return False
        self.x_NC[handle] = self.projection.of(raw_of(card)[None])[0]
        return True

    def of_text(self, text: str, vector: np.ndarray) -> np.ndarray:
        """The content vector (C) of a query and its text vector."""
        row_C: np.ndarray = self.projection.of(raw_of_text(text, vector)[None])[0]
        return row_C

    def refitted(self, size: int) -> tuple[ContentProjection, ByteVectors]:
        """The projection for the first `size` handles, and all their items through it, for `adopt`. While the catalogue
        has hardly grown these are the ones that are held: most of a fit would go into projecting the same cards."""
        catalog, uploads = self.catalog, self.catalog.uploads
        live = np.flatnonzero(catalog.live_N[:size])
        if self._fitted_at and uploads < self._fitted_at * (1.0 + GROWTH):
            self.x_NC[np.flatnonzero(~catalog.live_N[:size])] = np.zeros(self.width, np.float32)
            return self.projection, self.x_NC
        _, raw_NR = self._raw(live[:: max(1, len(live) // SAMPLE)])
        found = fit_projection(raw_NR, self.width)
        self._fitted_at = uploads if len(raw_NR) and found is not None else 0
        projection = found or self.projection
        x_NC = ByteVectors(len(catalog.live_N), self.width)
        for start in range(0, len(live), STRIDE):
            some, raw_NR = self._raw(live[start : start + STRIDE])
            x_NC[some] = projection.of(raw_NR)
        return projection, x_NC

    def _raw(self, handles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the handles that have a card still, and what it says (N × R)."""
        told = [
            (handle, raw_of(card)) for handle in handles.tolist() if (card := self.catalog.cards[handle]) is not None
        ]
        some = np.array([handle for handle, _ in told], np.int64)
        return some, np.stack([raw_R for _, raw_R in told]) if told else np.zeros((0, RAW_WIDTH), np.float32)

    def adopt(self, projection: ContentProjection, x_NC: ByteVectors) -> None:
        """Holds what `refitted` gave; who was described meanwhile has to be once more."""
        self.projection, self.x_NC = projection, x_NC

    def reserve(self) -> None:
        """Makes room for all handles of the catalogue."""
        self.x_NC.reserve(len(self.catalog.live_N))
