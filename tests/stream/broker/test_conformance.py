"""The embedded broker answers as real Kafka does.

A scenario makes the same calls against any broker and returns what it was told; the suite runs each scenario on both
brokers, one after the other, and compares. What may differ (ids, ports, ages) a scenario leaves out.
`wire_scenarios` work on the wire, where every error code shows; `client_scenarios` use the clients that people use:
kafka-python, aiokafka, confluent-kafka (librdkafka), kcat and Faust.
"""

from __future__ import annotations

import pytest

from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.stream.broker import client_scenarios, wire_scenarios
from tests.stream.broker.scenarios import Scenario, scenarios_of


@pytest.mark.kafka
@pytest.mark.parametrize(
    "scenario",
    [*scenarios_of(wire_scenarios), *scenarios_of(client_scenarios)],
    ids=lambda scenario: scenario.__name__,
)
def test_answers_as_real_kafka(scenario: Scenario, embedded_broker: EmbeddedCluster, real_kafka: KafkaCluster) -> None:
    embedded = scenario(embedded_broker.bootstrap_servers)
    assert embedded == scenario(real_kafka.bootstrap_servers)
    assert embedded, "a scenario must bring an answer back"
