"""The spill as a queue: what it took is there, in its order, whatever ends its process; what it cannot be is named."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.client.spilling.spill import FILE, RECORD_BYTES, Spill, Spilled, SpillError, SpillFullError
from tests.killed import ROOT
from tests.tiny_disk import tiny_disk

ROOMY = 1 << 30
PLACES = [("engagements", 0), ("engagements", 1), ("uploads", 0)]


def record(name: object, place: tuple[str, int] = PLACES[0], size: int = 0, events: int = 1) -> Spilled:
    return Spilled(*place, f"{name}".encode(), f"{name}".encode().ljust(size, b"."), 5, events)


def names(spill: Spill, place: tuple[str, int] = PLACES[0]) -> list[str]:
    kept = spill.read(place, 0, 100_000, ROOMY)
    assert all(one.intact for one in kept)
    return [one.record.key.decode() for one in kept]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9000)), max_size=8)),
        st.tuples(st.just("remove"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["close", "die"]), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=12)
@given(operations=OPERATIONS)
def test_it_is_a_queue_for_each_partition_whatever_ends_its_process(operations: list[tuple[str, object]]) -> None:
    """What a dead process leaves is the folder as it lies there, so the next one gets a copy of that."""
    held: dict[tuple[str, int], list[Spilled]] = {place: [] for place in PLACES}
    made = 0
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "0"
        spill = Spill(folder, ROOMY)
        for step, (act, what) in enumerate(operations):
            if act == "append":
                assert isinstance(what, list)
                new = [record(made + n, PLACES[p], size, n + 1) for n, (p, size) in enumerate(what)]
                made += len(new)
                assert spill.append(new) == len(new)
                for one in new:
                    held[one.place].append(one)
            elif act == "remove":
                place = PLACES[what]  # type: ignore[call-overload]
                spill.remove(kept.number for kept in spill.read(place, 0, 2, ROOMY))
                del held[place][:2]
            elif act == "close":
                spill.close()
                spill = Spill(folder, ROOMY)
            else:
                left, folder = folder, Path(root) / f"{step + 1}"
                shutil.copytree(left, folder)
                spill.close()
                spill = Spill(folder, ROOMY)
            for place, expected in held.items():
                assert [kept.record for kept in spill.read(place, 0, 1000, ROOMY)] == expected
            everything = [one for each in held.values() for one in each]
            assert (spill.events, spill.bytes) == (sum(o.events for o in everything), sum(o.size for o in everything))
        spill.close()


WRITER = """
import sys
from pathlib import Path
from stream.client.spilling.spill import Spill, Spilled
spill = Spill(Path(sys.argv[1]), 1 << 30)
number = spill.events
while True:
    spill.append([Spilled("t", 0, b"%d" % (number + n), bytes(9000), 5, 1) for n in range(50)])
    number += 50
    print(number, flush=True)
"""


def test_what_was_taken_survives_a_kill_in_mid_write(tmp_path: Path) -> None:
    waits = random.Random(7)
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "s"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        promised = int(writer.stdout.readline())
        signal_in_mid_write(writer, waits.uniform(0.01, 0.1))
        promised = int((writer.stdout.read().split() or [promised])[-1])
        writer.stdout.close()
        spill = Spill(tmp_path / "s", ROOMY)
        found = names(spill, ("t", 0))
        assert found == [str(n) for n in range(len(found))]
        assert len(found) >= promised
        assert len(found) % 50 == 0, "half of a write"
        spill.close()


def signal_in_mid_write(writer: subprocess.Popen[str], seconds: float) -> None:
    try:
        writer.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()


def test_a_chunk_ends_at_its_records_or_its_bytes_and_begins_behind_a_number(tmp_path: Path) -> None:
    spill = Spill(tmp_path, ROOMY)
    spill.append([record(n, size=1000) for n in range(10)])
    first = spill.read(PLACES[0], 0, 3, ROOMY)
    assert [kept.record.key for kept in first] == [b"0", b"1", b"2"]
    behind = spill.read(PLACES[0], first[-1].number, 100, 2000)
    assert [kept.record.key for kept in behind] == [b"3", b"4"]
    assert len(spill.read(PLACES[0], 0, 100, 1)) == 1
    spill.close()


def test_it_takes_what_the_limit_allows_and_says_what_to_do(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 3 * (RECORD_BYTES + 1001))
    assert spill.append([record(n, size=1000) for n in range(5)]) == 3
    assert spill.append([record(9)]) == 0
    with pytest.raises(SpillFullError, match=r"holds 3303 bytes, and may hold 3303: .*raise spill_limit_bytes"):
        raise spill.full()
    spill.remove([1])
    assert spill.append([record("later", size=900)]) == 1
    assert names(spill) == ["1", "2", "later"]
    spill.close()


def test_the_room_of_what_was_sent_is_given_back(tmp_path: Path) -> None:
    spill = Spill(tmp_path, ROOMY)
    spill.append([record(n, size=10_000) for n in range(300)])
    assert (tmp_path / FILE).stat().st_size > 3_000_000
    spill.remove(range(1, 301))
    assert (tmp_path / FILE).stat().st_size < 100_000
    spill.append([record("next")])
    assert spill.read(PLACES[0], 300, 1, 1)[0].number == 301, "numbers are not given twice"
    spill.close()


def test_a_folder_has_one_owner_who_is_named(tmp_path: Path) -> None:
    spill = Spill(tmp_path, ROOMY)
    with pytest.raises(SpillError, match=rf"held by another publisher, pid {os.getpid()}: .*a folder of its own"):
        Spill(tmp_path, ROOMY)
    spill.close()
    Spill(tmp_path, ROOMY).close()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    Spill(tmp_path / "new", ROOMY).close()
    assert [(tmp_path / "new").stat().st_mode & 0o077, (tmp_path / "new" / FILE).stat().st_mode & 0o077] == [0, 0]


def test_what_is_not_its_own_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("mine")
    with pytest.raises(SpillError, match=r"notes\.txt is not of a spill: .*a folder of its own"):
        Spill(tmp_path / "a", ROOMY)
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["notes.txt", "publisher.lock"]
    (tmp_path / "b").mkdir()
    base = sqlite3.connect(tmp_path / "b" / FILE)
    base.execute("CREATE TABLE other (x)")
    base.close()
    with pytest.raises(SpillError, match="another program's database"):
        Spill(tmp_path / "b", ROOMY)
    (tmp_path / "c").write_text("")
    with pytest.raises(SpillError, match=r"cannot be used .*give another folder"):
        Spill(tmp_path / "c", ROOMY)


@pytest.mark.parametrize("cut", [1, 100, 4096, 20_000])
def test_a_file_that_was_cut_is_known(tmp_path: Path, cut: int) -> None:
    """Of a page some bytes: by the checksum of what lay there. Pages: the file is named as damaged."""
    spill = Spill(tmp_path, ROOMY)
    spill.append([record(n, size=3000) for n in range(20)])
    spill.close()
    os.truncate(tmp_path / FILE, (tmp_path / FILE).stat().st_size - cut)
    if cut >= 4096:
        with pytest.raises(SpillError, match=r"spill\.sqlite3 is damaged.*move it away and start again"):
            Spill(tmp_path, ROOMY)
        return
    spill = Spill(tmp_path, ROOMY)
    intact = [kept.intact for kept in spill.read(PLACES[0], 0, 100, ROOMY)]
    assert intact.count(False) == 1
    assert len(intact) == 20
    spill.close()


def test_a_record_that_the_disk_has_changed_is_known_and_the_others_are_whole(tmp_path: Path) -> None:
    spill = Spill(tmp_path, ROOMY)
    spill.append([record(name, size=200) for name in ("one", "two", "three")])
    spill.close()
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content.replace(b"two....", b"two...x"))
    spill = Spill(tmp_path, ROOMY)
    assert [kept.intact for kept in spill.read(PLACES[0], 0, 10, ROOMY)] == [True, False, True]
    spill.close()


def test_what_is_noted_is_there_for_the_next_owner(tmp_path: Path) -> None:
    spill = Spill(tmp_path, ROOMY)
    assert spill.noted("cluster") is None
    spill.note("cluster", "a")
    spill.note("cluster", "b")
    spill.close()
    spill = Spill(tmp_path, ROOMY)
    assert spill.noted("cluster") == "b"
    spill.close()


def test_a_full_disk_is_named_and_takes_nothing_of_what_was_promised(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", 2) as disk:
        spill = Spill(disk.folder / "spill", ROOMY)
        spill.append([record("before")])
        disk.fill()
        with pytest.raises(SpillFullError, match=r"cannot be written \(.*\): make room on its disk"):
            spill.append([record(n, size=100_000) for n in range(10)])
        assert names(spill) == ["before"]
        disk.make_room()
        spill.append([record("after")])
        assert names(spill) == ["before", "after"]
        spill.close()
