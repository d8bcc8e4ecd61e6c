"""Vectors of an item partition for tests: the real ones, in a folder, with a catalogue that nobody else feeds."""

from __future__ import annotations

from pathlib import Path

from store.embeddings import EmbeddingRules, EmbeddingStore
from store.keys import partition_of
from stream.ingest.item_vectors import ItemVectors
from trainer.items.catalog import Catalog
from trainer.items.content_vectors import ContentVectors
from trainer.items.published_vectors import PublishedVectors
from trainer.items.vector_learning import VectorRules

WIDTH = 8


def item_vectors(folder: Path, number: int = 0, partitions: int = 1) -> ItemVectors:
    """Opens, or makes, the vectors of partition `number`."""
    store = EmbeddingStore(folder, EmbeddingRules(width=WIDTH, cached_rows=100))

    def owns(item_id: str) -> bool:
        return partition_of(item_id, partitions) == number

    return ItemVectors(store, owns, PublishedVectors(ContentVectors(Catalog()), WIDTH), VectorRules(width=WIDTH))
