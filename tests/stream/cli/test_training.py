"""`sidestream train` on a real broker."""

from __future__ import annotations

import msgspec

from store.checkpoints import decode_record
from store.settings import Settings
from tests.stream.conftest import Run
from tests.stream.log import read_topic


def test_train_asks_and_says_when_nobody_answers(on_broker: Run, cli_settings: Settings) -> None:
    asked = on_broker("train", "--json").document
    last = read_topic(cli_settings, "checkpoints")[-1]
    request = decode_record(last.key, last.value)
    assert msgspec.to_builtins(request) == asked
