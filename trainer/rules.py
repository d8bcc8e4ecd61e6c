"""Rules from settings: the one place where `Settings` become the rules of histories, items, retrieval and ranking.

The worker, the trainer, `replay`, the example backfill and the benchmarks all ask here, so what is replayed or filled
in is what is served. A rule that no setting names has its default in the class that it belongs to.

Invariant: a function of the settings alone; equal settings give equal rules.
"""

from __future__ import annotations

from store.embeddings import EmbeddingRules
from store.histories import HistoryRules
from store.settings import Settings
from trainer.items.item_learning import ItemRules
from trainer.items.vector_learning import VectorRules
from trainer.ranking.impressions import ImpressionRules
from trainer.ranking.ranker import RankerRules
from trainer.recommender import RecommenderRules


def history_rules(settings: Settings) -> HistoryRules:
    """What a user's row remembers."""
    store = settings.store
    return HistoryRules(settings.events.weights, length=store.history_length, context=store.context_length)


def item_rules(settings: Settings) -> ItemRules:
    """What an item's row remembers."""
    del settings
    return ItemRules()


def vector_rules(settings: Settings) -> VectorRules:
    """How item vectors are learned."""
    del settings
    return VectorRules()


def embedding_rules(settings: Settings) -> EmbeddingRules:
    """How the vectors of one partition are kept; the memory of a worker is shared by all partitions."""
    store = settings.store
    return EmbeddingRules(
        width=vector_rules(settings).width,
        admit_after=store.vector_admit_after,
        horizon_s=store.vector_horizon_s,
        cached_rows=store.cached_vectors // settings.kafka.partitions,
    )


def recommender_rules(settings: Settings) -> RecommenderRules:
    """How candidates are found and ordered."""
    serving = settings.serving
    return RecommenderRules(
        item=item_rules(settings),
        vectors=vector_rules(settings),
        utility=serving.utility,
        explore_share=serving.explore_share,
        beams=serving.beams,
        repeats=serving.repeats,
    )


def ranker_rules(settings: Settings) -> RankerRules:
    """How rankers are fitted."""
    return RankerRules(completed=settings.events.completed, threads=settings.training.threads)


def impression_rules(settings: Settings) -> ImpressionRules:
    """When a shown line becomes an example."""
    return ImpressionRules(window_s=settings.serving.impression_window_s, completed=settings.events.completed)
