from __future__ import annotations

import numpy as np

from store.requests import Request
from tests.small_world import START, World, card
from trainer.items.item_learning import DAY_S
from trainer.ranking.columns import COLUMNS, GROUPS
from trainer.ranking.features import compute
from trainer.retrieval.evidence import Evidence
from trainer.retrieval.taste import taste_of


def world_with_untouched_items() -> World:
    world = World()
    for number in range(60):
        world.recommender.insert(card(number, START - DAY_S))
    for n in range(400):
        world.engage(f"u{n % 40}", f"i{(n * 7 + n // 40) % 40}", START + n * DAY_S / 100)
    return world


def evidence_of(world: World, user_id: str) -> Evidence:
    recommender = world.recommender
    taste = taste_of(world.users[user_id], recommender.catalog, recommender.rules.candidates)
    rules = recommender.rules.candidates
    return Evidence(recommender.catalog, recommender.spectral, recommender.published, taste, rules)


def test_features_of_some_candidates_are_those_they_have_among_all() -> None:
    world = world_with_untouched_items()
    evidence = evidence_of(world, "u5")
    handles = np.flatnonzero(world.recommender.catalog.live_N[: evidence.size])
    whole_AF = compute(evidence, handles, START + 5 * DAY_S, Request(), None)
    some = handles[::3]
    some_BF = compute(evidence, some, START + 5 * DAY_S, Request(), None, handles)
    np.testing.assert_allclose(some_BF, whole_AF[::3], rtol=1e-5)


def test_the_request_is_told_alike_to_all_candidates_and_what_it_leaves_out_is_missing() -> None:
    world = world_with_untouched_items()
    monday_6_h = 1_600_063_200.0  # 2020-09-14T06:00Z
    evidence = evidence_of(world, "u5")
    asked = Request(task="search", country=" nl", device="Phone")
    x_BF = compute(evidence, np.arange(4), monday_6_h, asked, None)
    again_BF = compute(evidence, np.arange(4), monday_6_h + 86_400.0, Request(task="search", country="NL"), None)
    column = {name: x_BF[:, COLUMNS[name]] for name in GROUPS["request"]}
    assert all(len(set(values.tolist())) == 1 for values in column.values())
    assert (column["hour"][0], column["weekday"][0], column["task"][0]) == (6.0, 0.0, 3.0)
    assert again_BF[0, COLUMNS["weekday"]] == 1.0
    assert again_BF[0, COLUMNS["country"]] == column["country"][0]
    assert np.isnan(again_BF[:, COLUMNS["device"]]).all()


def test_what_is_like_something_refused_is_known_as_such() -> None:
    world = world_with_untouched_items()
    columns = [COLUMNS[name] for name in GROUPS["refused"]]
    before_BF = compute(evidence_of(world, "u5"), np.arange(60), START + 5 * DAY_S, Request(), None)
    assert np.isnan(before_BF[:, columns]).all()
    world.engage("u5", "i41", START + 5 * DAY_S, kind="dislike")  # odd, like every other item
    after_BF = compute(evidence_of(world, "u5"), np.arange(60), START + 5 * DAY_S, Request(), None)
    handles = world.recommender.catalog.handles
    odd = [handles[f"i{n}"] for n in range(1, 60, 2)]
    even = [handles[f"i{n}"] for n in range(0, 60, 2)]
    content = COLUMNS["refused_content"]
    assert after_BF[odd, content].min() > after_BF[even, content].max()


def test_conversion_is_told_of_what_was_seen_and_rises_with_what_came_of_it() -> None:
    world = world_with_untouched_items()
    now_s = START + 5 * DAY_S
    for n in range(40):
        world.engage(f"passer{n}", "i1", now_s, kind="impression")
        world.engage(f"passer{n}", "i2", now_s, kind="impression")
        world.engage(f"fan{n}", "i2", now_s)
    handles = world.recommender.catalog.handles
    asked = np.array([handles["i1"], handles["i2"], handles["i3"]])
    x_BF = compute(evidence_of(world, "u5"), asked, now_s, Request(), None)
    for name in ("conversion_short", "conversion_long"):
        passed, wanted, unseen = x_BF[:, COLUMNS[name]]
        assert wanted > passed + 1
        assert np.isnan(unseen)
