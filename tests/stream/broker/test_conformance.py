"""The embedded broker answers as real Kafka does.

A scenario makes the same calls against any broker and returns what it was told; the suite runs each scenario on both
brokers and compares. What may differ (ids, ports, ages) a scenario leaves out. `broker_wire_scenarios` work on the
wire, where every error code shows; `broker_client_scenarios` use the clients that people use: kafka-python, aiokafka,
confluent-kafka (librdkafka), kcat and Faust.
"""

from __future__ import annotations

import pytest

from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.stream import broker_client_scenarios, broker_wire_scenarios
from tests.stream.broker.scenarios import Scenario, scenarios_of


@pytest.mark.kafka
@pytest.mark.parametrize(
    "scenario",
    [*scenarios_of(broker_wire_scenarios), *scenarios_of(broker_client_scenarios)],
    ids=lambda scenario: scenario.__name__,
)
def test_answers_as_real_kafka(scenario: Scenario, embedded_broker: EmbeddedCluster, real_kafka: KafkaCluster) -> None:
    embedded = scenario(embedded_broker.bootstrap_servers)
    assert embedded == scenario(real_kafka.bootstrap_servers)
    assert embedded, "a scenario must bring an answer back"
