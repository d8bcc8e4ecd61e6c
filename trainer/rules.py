"""Rules from settings: the one place where `Settings` become the rules of histories, items, retrieval and ranking.

The worker, the trainer, `replay`, the example backfill and the benchmarks all ask here, so what is replayed or filled
in is what is served. A rule that no setting names has its default in the class that it belongs to.

Invariant: a function of the settings alone; equal settings give equal rules.
"""

from __future__ import annotations

import msgspec

from store.embeddings import EmbeddingRules
from store.histories import HistoryRules
from store.settings import Settings, TaskSettings
from trainer.items.item_learning import ItemRules
from trainer.items.spectral_embedding import SpectralRules
from trainer.items.vector_learning import VectorRules
from trainer.ranking.impressions import ImpressionRules
from trainer.ranking.learner import RankerRules
from trainer.ranking.negatives import NegativeRules
from trainer.recommender import RecommenderRules
from trainer.retrieval.taste import CandidateRules
from trainer.selection import TaskRules


def history_rules(settings: Settings) -> HistoryRules:
    """What a user's row remembers."""
    store = settings.store
    return HistoryRules(
        settings.events.weights, length=store.history_length, context=store.context_length, seen=store.seen_items
    )


def item_rules(settings: Settings) -> ItemRules:
    """What an item's row remembers."""
    items = settings.items
    return ItemRules(
        neighbours=items.neighbours,
        neighbour_half_life_s=items.neighbour_half_life_s,
        position_power=items.position_power,
    )


def vector_rules(settings: Settings) -> VectorRules:
    """How item vectors are learned."""
    vectors = settings.vectors
    return VectorRules(
        width=vectors.width,
        context=vectors.context,
        position_power=vectors.position_power,
        temperature=vectors.temperature,
        rate=vectors.rate,
        negatives=vectors.negatives,
        hard=vectors.hard_negatives,
        hard_users=vectors.hard_negative_users,
        pool=vectors.negative_pool,
    )


def spectral_rules(settings: Settings) -> SpectralRules:
    """How the transition graph is embedded."""
    spectral = settings.spectral
    return SpectralRules(
        width=spectral.width,
        iterations=spectral.iterations,
        ridge=spectral.ridge,
        prior=spectral.content_prior,
        growth=spectral.refit_growth,
        min_positives=spectral.min_positives,
    )


def candidate_rules(settings: Settings) -> CandidateRules:
    """How deep each source goes."""
    candidates = settings.candidates
    return CandidateRules(
        recent=candidates.transition_items,
        long=candidates.vector_items,
        near=candidates.content_items,
        position_power=candidates.position_power,
        hop_from=candidates.hop_items,
        fresh_below=candidates.fresh_below,
        quotas=msgspec.structs.asdict(candidates.quotas),
    )


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
        spectral=spectral_rules(settings),
        vectors=vector_rules(settings),
        candidates=candidate_rules(settings),
        utility=serving.utility,
        explore_share=serving.explore_share,
        explore_below=serving.explore_below,
        negatives=NegativeRules(candidates=settings.ranking.negatives, cold=settings.ranking.cold_negatives),
        repeats=serving.repeats,
        tasks={task: _task_rules(of_task) for task, of_task in serving.tasks.items()},
    )


def _task_rules(of_task: TaskSettings) -> TaskRules:
    return TaskRules(
        most_per_creator=of_task.most_per_creator,
        most_per_topic=of_task.most_per_topic,
        least_click=of_task.least_click,
        depth=of_task.depth,
        utility=of_task.utility,
    )


def ranker_rules(settings: Settings) -> RankerRules:
    """How rankers are fitted."""
    ranking = settings.ranking
    return RankerRules(
        kept=ranking.examples,
        firsts=ranking.first_engagements,
        impressions=ranking.impressions,
        completed=settings.events.completed,
        held_out=ranking.held_out,
        first=ranking.first_fit,
        growth=ranking.refit_growth,
        refit_every=ranking.refit_every,
        trees=ranking.trees,
        leaves=ranking.leaves,
        learning_rate=ranking.learning_rate,
        truncation=ranking.truncation,
        min_rows=ranking.min_rows,
        threads=settings.training.threads,
    )


def impression_rules(settings: Settings) -> ImpressionRules:
    """When a shown line becomes an example."""
    return ImpressionRules(
        window_s=settings.serving.impression_window_s,
        completed=settings.events.completed,
        waiting=settings.ranking.open_impressions,
    )
