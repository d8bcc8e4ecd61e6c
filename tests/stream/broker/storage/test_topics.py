"""Topics on disk against a plain dictionary, through restarts; whatever is refused changes nothing."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.broker.errors import Code, RefusedError
from stream.broker.storage.topics import Topics, check_name
from tests.stream.broker.batches import batch

NOW_MS = 1_000_000
COMPACT = {"cleanup.policy": "compact"}


def opened(folder: Path) -> Topics:
    return Topics(folder, {"retention.ms": "5000"}, NOW_MS)


def state(topics: Topics) -> dict[str, tuple[int, dict[str, str]]]:
    return {topic.name: (len(topic.logs), dict(topic.config.overrides)) for topic in topics.all()}


acts = st.lists(
    st.tuples(
        st.sampled_from(["create", "grow", "configure", "delete", "restart"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=10,
)


@settings(max_examples=40)
@given(acts=acts)
def test_what_was_asked_is_there_after_any_restart(
    acts: list[tuple[str, str, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("topics")
    topics, expected = opened(folder), dict[str, tuple[int, dict[str, str]]]()
    for act, name, partitions, flag in acts:
        overrides = COMPACT if flag else {}
        count = expected.get(name, (0, {}))[0]
        may = {"create": not count and partitions > 0, "grow": 0 < count < partitions}.get(act, count > 0)
        try:
            if act == "create":
                topics.create(name, partitions, overrides, NOW_MS)
                expected[name] = (partitions, overrides)
            elif act == "grow":
                topics.grow(name, partitions, NOW_MS)
                expected[name] = (partitions, expected[name][1])
            elif act == "configure":
                topics.configure(name, overrides)
                expected[name] = (count, overrides)
            elif act == "delete":
                topics.delete(name)
                del expected[name]
            else:
                topics.close(NOW_MS)
                topics = opened(folder)
                continue
            assert may
        except RefusedError:
            assert not may
        assert state(topics) == expected
    topics.close(NOW_MS)
    assert state(opened(folder)) == expected


def test_a_dry_run_refuses_alike_and_does_nothing(tmp_path: Path) -> None:
    topics = opened(tmp_path)
    topics.create("t", 1, {}, NOW_MS)
    before = state(topics)
    topics.create("u", 1, {}, NOW_MS, dry=True)
    topics.grow("t", 2, NOW_MS, dry=True)
    topics.configure("t", COMPACT, dry=True)
    assert state(topics) == before
    for asked, code in (
        (lambda: topics.create("t", 1, {}, NOW_MS, dry=True), Code.TOPIC_ALREADY_EXISTS),
        (lambda: topics.create("u", 0, {}, NOW_MS, dry=True), Code.INVALID_PARTITIONS),
        (lambda: topics.grow("t", 1, NOW_MS, dry=True), Code.INVALID_PARTITIONS),
        (lambda: topics.configure("t", {"x": "1"}, dry=True), Code.INVALID_CONFIG),
    ):
        with pytest.raises(RefusedError) as refused:
            asked()
        assert refused.value.code is code


def test_a_topic_keeps_its_id_and_one_made_anew_has_another(tmp_path: Path) -> None:
    topics = opened(tmp_path)
    topics.create("t", 1, {}, NOW_MS)
    first = topics.get("t").id
    topics = opened(tmp_path)
    assert topics.named(first) == "t"
    topics.delete("t")
    topics.create("t", 1, {}, NOW_MS)
    assert topics.get("t").id != first
    with pytest.raises(RefusedError) as refused:
        topics.named(first)
    assert refused.value.code is Code.UNKNOWN_TOPIC_ID
    described = tmp_path / "topics" / "t" / "topic.json"
    described.write_bytes(described.read_bytes().replace(b"id", b"no"))  # of a release without ids
    given = opened(tmp_path).get("t").id
    assert opened(tmp_path).named(given) == "t"


def test_records_of_a_deleted_topic_do_not_come_back_and_who_waits_is_told(tmp_path: Path) -> None:
    topics, told = opened(tmp_path), []
    topics.create("t", 1, {}, NOW_MS)
    topics.log("t", 0).append(batch([(b"k", b"v")]), NOW_MS)
    topics.log("t", 0).listeners.add(lambda: told.append("woken"))
    topics.delete("t")
    assert told == ["woken"]
    topics.create("t", 1, {}, NOW_MS)
    assert topics.log("t", 0).end == 0


def test_half_a_topic_left_by_a_crash_is_none(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "trash" / uuid.uuid4().hex).mkdir()
    assert opened(tmp_path).names() == []
    assert list((tmp_path / "trash").iterdir()) == []


def test_settings_reach_the_logs_at_once(tmp_path: Path) -> None:
    topics = opened(tmp_path)
    topics.create("t", 2, {}, NOW_MS)
    topics.configure("t", {"max.message.bytes": "10"})
    with pytest.raises(RefusedError) as refused:
        topics.log("t", 1).append(batch([(b"k", b"v")]), NOW_MS)
    assert refused.value.code is Code.MESSAGE_TOO_LARGE
    assert topics.get("t").config.number("retention.ms") == 5000


@pytest.mark.parametrize("partition", [-1, 1])
def test_a_partition_that_is_not_there_is_refused(tmp_path: Path, partition: int) -> None:
    topics = opened(tmp_path)
    topics.create("t", 1, {}, NOW_MS)
    with pytest.raises(RefusedError, match="t has 1 partitions"):
        topics.log("t", partition)


@given(
    name=st.text(st.characters(max_codepoint=127), max_size=8)
    | st.sampled_from(["..", ".", "a" * 249, "a" * 250, "a/b", "..a"])
)
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    try:
        check_name(name)
        assert (Path("topics") / name).parent == Path("topics")
        assert 1 <= len(name) <= 249
        assert name not in (".", "..")
    except RefusedError:
        assert not re.fullmatch(r"[\w.-]{1,249}", name, re.ASCII) or name in (".", "..")
