"""Columns become fields; what does not fit is named with what there is."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from store.tables.mapping import Columns, MappingError, columns_of
from store.tables.moments import Clock
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS


def test_columns_constants_kinds_and_lists() -> None:
    columns = Columns(
        topic=ENGAGEMENTS,
        columns={"user_id": "visitor", "item_id": "item", "occurred_at": "ts", "kind": "event"},
        kinds={"addtocart": "save"},
        constants={"device": "web"},
    )
    row = {"visitor": 17, "item": 4.0, "ts": "1767323045000", "event": "addtocart", "value": Decimal("0.5"), "x": "y"}
    event = columns.event(row)
    named = event.pop("event_id")
    same = {"user_id": "17", "item_id": "4", "kind": "save", "occurred_at": 1767323045.0}
    assert event == {**same, "value": 0.5, "device": "web"}
    assert len(named) == 24
    assert columns.event(row)["event_id"] == named != columns.event({**row, "item": 5})["event_id"]
    assert columns.event(row, keep=True)["x"] == "y"
    assert "visitor" not in columns.event(row, keep=True)


def test_lists_and_entries_of_maps() -> None:
    columns = Columns(
        topic=UPLOADS,
        columns={"features.visual": "embedding", "features.audio": "a", "title": "name.de"},
        split={"tags": "|"},
        constants={"uploaded_at": "2026-01-02T03:04:05Z"},
    )
    row = {"item_id": b"i", "embedding": [1.0, 2.0], "a": "[3]", "tags": "red| big|", "name": {"de": "Eins"}}
    assert columns.event(row) == {
        "item_id": "i",
        "uploaded_at": 1767323045.0,
        "title": "Eins",
        "tags": ["red", "big"],
        "features": {"visual": [1.0, 2.0], "audio": [3]},
    }
    people = Columns(topic=PROFILES, columns={"attributes.zip": "zip"})
    assert people.event({"user_id": "u", "updated_at": 5, "zip": "01067"})["attributes"] == {"zip": "01067"}


def test_nothing_is_nothing_however_it_is_written() -> None:
    columns = Columns(topic=UPLOADS)
    assert columns.event({"item_id": "i", "uploaded_at": 5, "title": None, "duration_s": float("nan")}) == {
        "item_id": "i",
        "uploaded_at": 5.0,
    }


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"columns": {"user": "u"}}, "engagements have no field user: did you mean user_id?"),
        ({"constants": {"value.x": "1"}}, "no field value.x"),
        ({"clock": Clock(zone="Berlin")}, "IANA name"),
        ({"clock": Clock(zone="../x")}, "IANA name"),
    ],
)
def test_a_mapping_that_fits_no_event_is_refused(said: dict[str, Any], told: str) -> None:
    with pytest.raises(MappingError, match=told.replace("?", r"\?")):
        Columns(topic=ENGAGEMENTS, **said)


def test_what_a_heading_lacks_is_told() -> None:
    columns = Columns(topic=ENGAGEMENTS, columns={"user_id": "visitor"})
    assert "no column visitor (for user_id): did you mean visitors?" in columns.missing(["visitors", "item_id"])
    lacking = columns.missing(["visitor", "item_id", "kind"])
    assert lacking.startswith("no column is occurred_at: say which, --column occurred_at=COLUMN")
    assert columns.missing(["visitor", "item_id", "kind", "occurred_at"]) == ""


def test_a_file_and_options_on_top(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text(
        '[columns]\nuser_id = "a"\nitem_id = "b"\n[constants]\nkind = "click"\n[time]\nunit = "ms"\nzone = "UTC"\n'
    )
    found = columns_of(ENGAGEMENTS, file, {"columns": {"user_id": "c"}}, Clock())
    assert (found.columns, found.constants) == ({"user_id": "c", "item_id": "b"}, {"kind": "click"})
    assert found.clock == Clock("ms", "UTC")
    assert columns_of(ENGAGEMENTS, file, {}, Clock("s", "Asia/Tokyo")).clock == Clock("s", "Asia/Tokyo")


@pytest.mark.parametrize("content", ["[column]\nuser_id = 'a'\n", "[columns", "[time]\nunit = 'hours'\n", None])
def test_a_broken_file_is_named(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(MappingError, match=r"m\.toml"):
        columns_of(ENGAGEMENTS, file, {}, Clock())
