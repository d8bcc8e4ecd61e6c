from __future__ import annotations

from trainer.evaluation.baselines import DAY_S, ItemKnn, Popular, TransitionCounts, with_best_knn


def everything(_: str) -> bool:
    return True


def test_popular_forgets_what_left_the_window() -> None:
    popular = Popular(window=3)
    for item in ("old", "old", "new", "new", "other"):
        popular.learn(item, 0.0, [])
    assert popular.recommend([], (), everything, 5) == ["new", "other"]
    assert popular.recommend([], {"new"}, everything, 5) == ["other"]
    assert popular.recommend([], (), lambda item: item != "other", 1) == ["new"]


def test_item_knn_knows_what_goes_together_both_ways_and_forgets_slowly() -> None:
    knn = ItemKnn(half_life_s=DAY_S)
    knn.learn("b", 0.0, ["a"])
    knn.learn("b", 0.0, ["a"])
    knn.learn("c", 5 * DAY_S, ["a"])
    assert knn.recommend(["a"], (), everything, 5) == ["c", "b"]
    assert knn.recommend(["b"], (), everything, 5) == ["a"]
    assert knn.recommend(["unheard of"], (), everything, 5) == []


def test_one_chance_meeting_of_rare_items_does_not_beat_many_meetings() -> None:
    knn = ItemKnn()
    knn.learn("rare", 0.0, ["a"])
    for _ in range(20):
        knn.learn("often", 0.0, ["a"])
    for _ in range(60):
        knn.learn("often", 0.0, ["else"])
    assert knn.recommend(["a"], (), everything, 1) == ["often"]


def test_without_shrinkage_what_went_together_most_often_wins() -> None:
    """A cosine thinks little of what is taken everywhere, and most of what met the item once."""
    counts, cosine = ItemKnn(shrink=None), ItemKnn(shrink=0.0)
    for knn in (counts, cosine):
        knn.learn("a", 0.0, [])
        for _ in range(3):
            knn.learn("everywhere", 0.0, ["a"])
        knn.learn("rare", 0.0, ["a"])
        for _ in range(60):
            knn.learn("everywhere", 0.0, [])
    assert counts.recommend(["a"], (), everything, 1) == ["everywhere"]
    assert cosine.recommend(["a"], (), everything, 1) == ["rare"]


def test_the_last_item_speaks_louder_where_places_are_weighed() -> None:
    weighed, plain = ItemKnn(shrink=None, place_power=2.0), ItemKnn(shrink=None)
    for knn in (weighed, plain):
        for _ in range(3):
            knn.learn("with old", 0.0, ["old"])
        for item in ("with new", "with new", "other"):
            knn.learn(item, 0.0, ["new"])
    assert weighed.recommend(["new", "old"], {"new", "old"}, everything, 1) == ["with new"]
    assert plain.recommend(["new", "old"], {"new", "old"}, everything, 1) == ["with old"]


def test_transition_counts_know_the_direction_and_the_distance() -> None:
    counts = TransitionCounts(penalty=0.0)
    history: list[str] = []
    for item in ("a", "b", "c"):
        counts.learn(item, 0.0, history[::-1])
        history.append(item)
    assert counts.recommend(["a"], (), everything, 5) == ["b", "c"]
    assert counts.recommend(["c"], (), everything, 5) == []


def test_of_item_knn_the_best_variant_counts() -> None:
    ranks = [
        {"popular": 0, "item-knn (x)": 3, "item-knn (y)": -1},
        {"popular": 0, "item-knn (x)": 12, "item-knn (y)": 1},
    ]
    ranks.append({"popular": 0, "item-knn (x)": -1, "item-knn (y)": 2})
    assert [one["item-knn"] for one in with_best_knn(ranks, 10)] == [-1, 1, 2]
    assert with_best_knn([{"popular": 1}], 10) == [{"popular": 1}]
    assert with_best_knn([], 10) == []
