from __future__ import annotations

import msgspec
import numpy as np

from trainer.ranking.cold_start import CONTENT_ALONE, LEAST, ColdStartModel, fit
from trainer.ranking.columns import COLUMNS, NAMES

NEAR = COLUMNS["content_taste"]


def choices(count: int, rng: np.random.Generator, pull: float = 2.0) -> list[np.ndarray]:
    """First engagements of people who choose by one likeness (a conditional logit), the chosen row first."""
    made = []
    for _ in range(count):
        x_RF = rng.standard_normal((13, len(NAMES))).astype(np.float32)
        utility_R = pull * x_RF[:, NEAR] + rng.gumbel(size=13)
        chosen = int(np.argmax(utility_R))
        made.append(x_RF[[chosen, *np.delete(np.arange(13), chosen)]])
    return made


def test_it_finds_what_people_choose_by() -> None:
    rng = np.random.default_rng(0)
    score = fit(choices(2000, rng))
    weight = dict(zip(CONTENT_ALONE, score.weight, strict=True))
    assert 1.7 < weight["content_taste"] / score.scale[CONTENT_ALONE.index("content_taste")] < 2.3
    assert max(abs(value) for name, value in weight.items() if name != "content_taste") < 0.2
    hits = [int(np.argmax(score(x_RF)) == 0) for x_RF in choices(500, rng)]
    assert np.mean(hits) > 3 / 13


def test_it_depends_on_content_alone_and_survives_bytes() -> None:
    rng = np.random.default_rng(1)
    score = fit(choices(200, rng))
    x_BF = rng.standard_normal((5, len(NAMES))).astype(np.float32)
    other_BF = x_BF.copy()
    telling = [COLUMNS[name] for name in CONTENT_ALONE]
    other_BF[:, np.delete(np.arange(len(NAMES)), telling)] = 7.0
    np.testing.assert_array_equal(score(x_BF), score(other_BF))
    again = msgspec.json.decode(msgspec.json.encode(score), type=ColdStartModel)
    np.testing.assert_allclose(again(x_BF), score(x_BF))
    assert score.beside(x_BF).shape == (5, len(NAMES) + 1)


def test_before_enough_first_engagements_nothing_is_said() -> None:
    score = fit(choices(LEAST - 1, np.random.default_rng(2)))
    assert not score(np.ones((3, len(NAMES)), np.float32)).any()
