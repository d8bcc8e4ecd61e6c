"""The tables of settings: the defaults need nothing, every table says what it is, folders follow the data folder."""

from __future__ import annotations

from pathlib import Path

from store.events import KINDS
from store.settings import Settings, Table, load_settings, settings_from


def test_the_defaults_need_nothing() -> None:
    assert load_settings(environment={}) == Settings()
    assert set(Settings().events.weights) <= set(KINDS)
    assert Settings().topic("uploads") == "sidestream.uploads"


def test_every_table_says_what_it_is() -> None:
    assert all(kind.__doc__ for kind in Table.__subclasses__())


def test_checkpoints_lie_in_the_data_folder_unless_named() -> None:
    assert settings_from({"data_dir": "d"}).checkpoint_folder() == Path("d/checkpoints")
    assert settings_from({"data_dir": "d", "checkpoint_dir": "c"}).checkpoint_folder() == Path("c")
