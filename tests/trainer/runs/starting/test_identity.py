"""Whether a run would still be the same one."""

from __future__ import annotations

import msgspec

from store.settings import Events, Model, Settings, Training
from trainer.runs.starting.identity import code_version, made_with


def test_what_decides_how_a_run_learns_names_it() -> None:
    same = [Settings(), Settings(data_dir="elsewhere"), Settings(training=Training(max_seconds=5.0))]
    assert len({made_with(settings) for settings in same}) == 1
    others = [
        Settings(model=Model(layers=2)),
        Settings(training=Training(epochs=1.0)),
        Settings(events=Events(weights={"click": 5.0})),
        msgspec.structs.replace(Settings(), codebook=msgspec.structs.replace(Settings().codebook, seed=4)),
    ]
    assert len({made_with(settings) for settings in [*same, *others]}) == 5


def test_the_code_has_a_version() -> None:
    assert code_version()
