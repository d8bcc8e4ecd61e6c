"""`NAME=VALUE`, repeated."""

from __future__ import annotations

import pytest

from store.tables.mapping import MappingError
from stream.cli.data.table_options import pairs


def test_pairs_may_hold_the_sign_again() -> None:
    assert pairs(["tags==", "a=b"], "--split") == {"tags": "=", "a": "b"}
    assert pairs(None, "--split") == {}


@pytest.mark.parametrize("said", ["tags", "=x", ""])
def test_what_is_no_pair_is_named(said: str) -> None:
    with pytest.raises(MappingError, match="write NAME=VALUE"):
        pairs([said], "--split")
