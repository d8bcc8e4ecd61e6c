from __future__ import annotations

from trainer.evaluation.baselines import DAY_S, ItemKnn, Popular


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
