"""Content vectors of a catalogue: what each live item's card says, through one projection that is fitted as it grows.

Invariant: all rows were made by the projection that is held, or are placed anew once `adopt` has exchanged it.
"""

from __future__ import annotations

import numpy as np

from store.items import ItemCard
from trainer.content.projection import ContentProjection, first_projection, fit_projection, raw_of, raw_of_text
from trainer.items.catalog import Catalog

SAMPLE = 4000
"""A projection is fitted to so many items, spread evenly over the catalogue."""
GROWTH = 0.02
"""With that many more cards a refit projects all of them anew."""


class ContentVectors:
    """Content by handle of `catalog`: unit rows `x_NC`, zero for an item that says nothing."""

    def __init__(self, catalog: Catalog, width: int = 128) -> None:
        self.catalog, self.width = catalog, width
        self.projection = first_projection(width)
        self.x_NC = np.zeros((len(catalog.live_N), width), np.float32)
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

    def refitted(self, size: int) -> tuple[ContentProjection, np.ndarray]:
        """The projection for the first `size` handles, and all their items through it, for `adopt`. While the catalogue
        has hardly grown these are the ones that are held: most of a fit would go into projecting the same cards."""
        cards, uploads = self.catalog.cards[:size], self.catalog.uploads
        live = [handle for handle, card in enumerate(cards) if card is not None]
        x_NC = np.zeros((len(self.catalog.live_N), self.width), np.float32)
        if self._fitted_at and uploads < self._fitted_at * (1.0 + GROWTH):
            x_NC[live] = self.x_NC[live]
            return self.projection, x_NC
        sample = [card for handle in live[:: max(1, len(live) // SAMPLE)] if (card := cards[handle]) is not None]
        found = fit_projection(_raw(sample), self.width) if sample else None
        self._fitted_at = uploads if found is not None else 0
        projection = found or self.projection
        for start in range(0, len(live), SAMPLE):
            some = live[start : start + SAMPLE]
            x_NC[some] = projection.of(_raw([card for card in map(cards.__getitem__, some) if card]))
        return projection, x_NC

    def adopt(self, projection: ContentProjection, x_NC: np.ndarray) -> None:
        """Holds what `refitted` gave; who was described meanwhile has to be once more."""
        self.projection, self.x_NC = projection, x_NC

    def reserve(self) -> None:
        """Makes room for all handles of the catalogue."""
        lack = len(self.catalog.live_N) - len(self.x_NC)
        if lack > 0:
            self.x_NC = np.concatenate([self.x_NC, np.zeros((lack, self.width), np.float32)])


def _raw(cards: list[ItemCard]) -> np.ndarray:
    return np.stack([raw_of(card) for card in cards])
