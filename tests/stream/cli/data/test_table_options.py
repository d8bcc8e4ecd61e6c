"""`NAME=VALUE`, repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.tables.mapping import MappingError
from store.topics import UPLOADS
from stream.cli.data.table_options import TableOptions, pairs


def test_pairs_may_hold_the_sign_again() -> None:
    assert pairs(["tags==", "a=b"], "--split") == {"tags": "=", "a": "b"}
    assert pairs(None, "--split") == {}


def test_what_was_said_is_a_mapping() -> None:
    said = TableOptions(
        file=Path("-"), topic=UPLOADS, column=["item_id=sku"], constant=["category=x"], unit="ms", zone="UTC"
    )
    event = said.columns().event({"sku": 1, "uploaded_at": 1000})
    assert event == {"item_id": "1", "uploaded_at": 1.0, "category": "x"}


@pytest.mark.parametrize("said", ["tags", "=x", ""])
def test_what_is_no_pair_is_named(said: str) -> None:
    with pytest.raises(MappingError, match="write NAME=VALUE"):
        pairs([said], "--split")
