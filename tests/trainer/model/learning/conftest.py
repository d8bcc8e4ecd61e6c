"""A model that has learned the tiny world."""

from __future__ import annotations

import pytest

from tests.trainer.model.learning.short_runs import learn
from tests.trainer.worlds import corpus
from trainer.model.decoder import Decoder
from trainer.model.learning.pretraining import Outcome


@pytest.fixture(scope="package")
def learned() -> tuple[Decoder, Outcome]:
    return learn(corpus(), 240)
