"""The map of topics: counts are the tree's, titles are of live items, and what is left out is counted."""

from __future__ import annotations

import time

import numpy as np
import pytest

from stream.serving.desk import topic_map
from tests.stream.serving.test_codebook_report import SMALL, listed
from trainer.model_bundle import ModelBundle
from trainer.semantic_ids.codebook import zero_codebook


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    bundle = ModelBundle(zero_codebook(SMALL))
    bundle.insert_many(range(600), listed())
    return bundle


def test_every_item_is_counted_once_on_each_level(bundle: ModelBundle) -> None:
    cards = listed()
    root = topic_map.look(bundle, cards, [])
    assert root is not None
    assert (root["items"], root["prefix"], root["members"]) == (600, [], [])
    assert sum(topic["items"] for topic in root["topics"]) + root["others"]["items"] == 600
    sizes = [topic["items"] for topic in root["topics"]]
    assert sizes == sorted(sizes, reverse=True)
    assert all(topic["titles"] and topic["titles"][0].startswith("Thing") for topic in root["topics"])
    below = topic_map.look(bundle, cards, [root["topics"][0]["code"]])
    assert below is not None
    assert below["items"] == sizes[0]


def test_a_leaf_names_its_items_and_what_is_gone_is_nothing(bundle: ModelBundle) -> None:
    cards = listed()
    codes = bundle.tree.codes_of(7)
    assert codes is not None
    leaf = topic_map.look(bundle, cards, codes)
    assert leaf is not None
    assert {"item_id": "i7", "title": "Thing 0"} in leaf["members"]
    assert (leaf["topics"], leaf["others"]) == ([], {"topics": 0, "items": 0})
    assert topic_map.look(bundle, cards, [*codes, 1]) is None
    assert topic_map.look(bundle, cards, [9999]) is None
    assert topic_map.look(bundle, [], codes)["members"] == []  # type: ignore[index]  # taken down a moment ago


def test_an_empty_catalogue_is_a_root_without_topics() -> None:
    said = topic_map.look(ModelBundle(zero_codebook(SMALL)), [], [])
    assert said is not None
    assert (said["items"], said["topics"]) == (0, [])


def test_many_topics_are_bounded(bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_map, "MOST_TOPICS", 2)
    said = topic_map.look(bundle, listed(), [])
    assert said is not None
    assert len(said["topics"]) == 2
    assert said["others"]["topics"] > 0
    assert said["others"]["items"] == 600 - sum(topic["items"] for topic in said["topics"])


def test_a_large_tree_takes_no_second() -> None:
    bundle = ModelBundle(zero_codebook(SMALL))
    random = np.random.default_rng(0)
    count = 200_000
    widths = np.array(bundle.tree.widths)
    bundle.tree.insert_many(np.arange(count), (random.random((count, len(widths))) * widths).astype(int))
    began = time.perf_counter()
    said = topic_map.look(bundle, [], [])
    assert said is not None
    assert said["items"] == count
    assert time.perf_counter() - began < 1.0
