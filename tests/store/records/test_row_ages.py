"""The age of a row is read without what it holds, for every kind of row alike."""

from __future__ import annotations

import msgspec
import pytest

from store.histories import UserRow
from store.items import ItemRow
from store.records.row_ages import ages_in


@pytest.mark.parametrize("kind", [UserRow, ItemRow])
def test_offset_and_time_of_a_whole_row_and_of_one_of_an_earlier_release(kind: type[UserRow | ItemRow]) -> None:
    age_of = ages_in(kind)
    assert age_of(msgspec.msgpack.encode(kind(offset=7, touched_s=123))) == (7, 123)
    assert age_of(msgspec.msgpack.encode([7])) == (7, 0)


def test_what_is_no_row_is_said() -> None:
    with pytest.raises(msgspec.MsgspecError):
        ages_in(ItemRow)(b"\xc1")
