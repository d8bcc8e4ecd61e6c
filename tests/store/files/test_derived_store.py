"""Derived stores: what is damaged is set aside and made anew; what only looks like it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rocksdict import Options, Rdict, WriteBatch

from store.files.databases import open_database
from store.files.derived_store import ASIDE, MARK, DamagedStoreError, DerivedStore, derived_options, set_aside_too


def options() -> Options:
    made = Options(raw_mode=True)
    made.create_if_missing(True)
    return made


def fill(folder: Path, count: int = 20_000) -> None:
    store = DerivedStore(folder, options, b"first", RuntimeError)
    batch = WriteBatch(raw_mode=True)
    for number in range(count):
        batch.put(b"k%06d" % number, os.urandom(50))
    store.write(batch)
    store._db.flush()
    store.close()


def damage(folder: Path, part: str) -> None:
    (path,) = [each for each in folder.iterdir() if part in each.name]
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 3
    whole[middle : middle + 40] = os.urandom(40)
    path.write_bytes(whole)


@pytest.mark.parametrize("part", ["MANIFEST", "CURRENT"])
def test_what_cannot_be_opened_is_made_anew(tmp_path: Path, part: str) -> None:
    fill(tmp_path / "rows")
    damage(tmp_path / "rows", part)
    store = DerivedStore(tmp_path / "rows", options, b"first", RuntimeError)
    assert store.rebuilt
    assert list(store.items(b"")) == []
    store.close()
    assert (tmp_path / f"rows{ASIDE}").is_dir()
    store = DerivedStore(tmp_path / "rows", options, b"first", RuntimeError)
    assert not store.rebuilt
    store.close()


def test_damage_that_shows_when_it_is_read_is_said_and_the_next_start_begins_anew(tmp_path: Path) -> None:
    fill(tmp_path / "rows")
    damage(tmp_path / "rows", ".sst")
    store = DerivedStore(tmp_path / "rows", options, b"first", RuntimeError)
    with pytest.raises(DamagedStoreError, match="start again"):
        list(store.items(b""))
    with pytest.raises(DamagedStoreError, match="is damaged"):
        [store.get(b"k%06d" % number) for number in range(20_000)]
    store.close()
    assert (tmp_path / "rows" / MARK).exists()
    store = DerivedStore(tmp_path / "rows", options, b"first", RuntimeError)
    assert store.rebuilt
    store.close()


def test_damage_in_what_is_read_first_is_found_at_the_start(tmp_path: Path) -> None:
    fill(tmp_path / "rows", 40)
    damage(tmp_path / "rows", ".sst")
    store = DerivedStore(tmp_path / "rows", options, b"k000020", RuntimeError)
    assert store.rebuilt
    store.close()


def test_another_owner_is_no_damage(tmp_path: Path) -> None:
    store = DerivedStore(tmp_path / "rows", options, b"first", RuntimeError)
    with pytest.raises(Exception, match="lock"):
        DerivedStore(tmp_path / "rows", options, b"first", RuntimeError)
    assert not (tmp_path / f"rows{ASIDE}").exists()
    store.close()


def test_what_belongs_to_a_damaged_folder_goes_with_it(tmp_path: Path) -> None:
    fill(tmp_path / "rows", 40)
    set_aside_too(tmp_path / "rows", rebuilt=False)
    assert (tmp_path / "rows").is_dir()
    set_aside_too(tmp_path / "rows", rebuilt=True)
    assert not (tmp_path / "rows").exists()
    set_aside_too(tmp_path / "rows", rebuilt=True)


def flushed(folder: Path) -> DerivedStore:
    """A store as workers open it, its 2,000 keys (every second one of those up to k3998) in a file."""
    store = DerivedStore(folder, derived_options, b"first", RuntimeError)
    batch = WriteBatch(raw_mode=True)
    for number in range(0, 4000, 2):
        batch.put(b"k%04d" % number, os.urandom(500))
    store.write(batch)
    store._db.flush()
    return store


def kept_blocks(database: Rdict) -> int:
    return database.property_int_value("rocksdb.block-cache-usage") or 0


def test_all_stores_share_one_bound_for_what_they_keep_of_reads(tmp_path: Path) -> None:
    store, other = flushed(tmp_path / "rows"), open_database(tmp_path / "other", derived_options(), RuntimeError)
    before = kept_blocks(other)
    for number in range(0, 4000, 2):
        store.get(b"k%04d" % number)
    assert kept_blocks(other) - before > 500_000
    assert other.property_int_value("rocksdb.block-cache-capacity") <= 32 << 20
    store.close()
    other.close()


def test_ids_that_come_once_and_scans_leave_nothing_in_memory(tmp_path: Path) -> None:
    store = flushed(tmp_path / "rows")
    before = kept_blocks(store._db)
    for number in range(1, 4000, 2):
        assert store.get(b"k%04d" % number) is None
    assert len(list(store.items(b"k"))) == 2000
    assert kept_blocks(store._db) - before < 200_000  # index, filter, and a few that the filter lets pass
    store.close()
