"""The node: one on a folder, and all that it holds is there again when it is opened anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stream.broker.errors import DataDirInUseError
from stream.broker.groups import Member
from stream.broker.node import Node, Options, now_ms
from stream.broker.storage.offsets import Committed
from tests.stream.broker.batches import batch
from tests.stream.broker.node_calls import node_at


def test_what_it_held_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    member = Member("", None, ("me", "/here"), 10.0, 10.0, {"range": b""})
    with node_at(tmp_path) as node:
        assert len(node.cluster_id) == 22
        cluster_id, producer_id = node.cluster_id, node.producer_ids.new()
        node.topics.create("kept", 2, {"retention.ms": "-1"}, now_ms())
        node.topics.log("kept", 1).append(batch([(b"k", b"v")]), now_ms())
        node.offsets.commit("g", {("kept", 1): Committed(1, "note")})
        joined = asyncio.run(node.groups.join("g", member, "consumer", False))
    with node_at(tmp_path) as again:
        assert again.cluster_id == cluster_id
        assert again.producer_ids.new() != producer_id
        assert [log.end for log in again.topics.get("kept").logs] == [0, 1]
        assert again.offsets.of("g") == {("kept", 1): Committed(1, "note")}
        group = again.groups.find("g")
        assert group is not None
        assert (group.generation, len(group.members)) == (joined.generation, 0), "members are to join again"


def test_of_two_on_a_folder_the_second_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    with node_at(tmp_path), pytest.raises(DataDirInUseError, match=rf"runs on {tmp_path}, .*stop it, or give another"):
        Node(Options(data_dir=tmp_path))
    with node_at(tmp_path):
        pass


@pytest.mark.parametrize(
    ("defaults", "expected"), [({}, "3000"), ({"max.message.bytes": "500", "retention.ms": "7"}, "500")]
)
def test_topics_take_the_nodes_largest_batch_unless_their_defaults_name_another(
    tmp_path: Path, defaults: dict[str, str], expected: str
) -> None:
    with node_at(tmp_path, message_max_bytes=3000, topic_defaults=defaults) as node:
        node.topics.create("t", 1, {}, now_ms())
        config = node.topics.get("t").config
        assert config["max.message.bytes"] == expected
        assert defaults.get("retention.ms", config["retention.ms"]) == config["retention.ms"]
