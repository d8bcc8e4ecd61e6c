"""Every document that is built is what the Kubernetes API takes, in the oldest and in the newest version: no unknown
field, no wrong type. The schemas of the Prometheus operator and of KEDA are not to be had: what is asked of theirs is
written here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.built import AS_WRITTEN, VARIANTS, documents, of_kind

OLDEST, NEWEST = "1.27", "1.37"
FOREIGN = ("PodMonitor", "PrometheusRule", "ScaledObject")
DURATION = re.compile(r"(\d+(ms|s|m|h|d|w|y))+")


def told_apart(variants: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Each document once, however many variants build it."""
    found = {json.dumps(one, sort_keys=True): one for variant in variants for one in documents(variant)}
    yield from found.values()


def faults(document: dict[str, Any], version: str) -> str:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{document['kind']} {document['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}"
    return ""


@pytest.mark.parametrize(
    ("version", "variants"),
    [
        (OLDEST, ["everything"]),
        pytest.param(OLDEST, list(VARIANTS), marks=pytest.mark.long),
        pytest.param(NEWEST, list(VARIANTS), marks=pytest.mark.long),
    ],
)
def test_the_api_takes_every_document(version: str, variants: list[str]) -> None:
    own = [document for document in told_apart(variants) if document["kind"] not in FOREIGN]
    assert len({document["kind"] for document in own}) >= 9
    wrong = [fault for document in own if (fault := faults(document, version))]
    assert not wrong, "\n".join(wrong)


def test_the_api_takes_the_base_as_it_is_written() -> None:
    """Without kubectl, too."""
    written = [one for one in documents(AS_WRITTEN) if one["kind"] != "ConfigMap"]
    wrong = [fault for document in written if (fault := faults(document, OLDEST))]
    assert not wrong, "\n".join(wrong)


def test_what_the_api_would_refuse_is_found() -> None:
    worker = next(one for one in documents(AS_WRITTEN) if one["kind"] == "StatefulSet")
    assert "replicas" in faults({**worker, "spec": {**worker["spec"], "replicas": "two"}}, OLDEST)
    assert "restartpolicy" in faults({**worker, "spec": {**worker["spec"], "restartpolicy": "Always"}}, OLDEST)


def test_pod_monitors_have_the_operators_fields() -> None:
    for monitor in of_kind("everything", "PodMonitor"):
        assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
        assert monitor["spec"].keys() == {"selector", "podMetricsEndpoints"}
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert endpoint.keys() == {"port", "path", "interval", "relabelings"}
            assert DURATION.fullmatch(endpoint["interval"])
            assert all(one.keys() == {"targetLabel", "replacement"} for one in endpoint["relabelings"])


def test_the_prometheus_rule_has_the_operators_fields() -> None:
    (rule,) = of_kind("everything", "PrometheusRule")
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    names = [group["name"] for group in rule["spec"]["groups"]]
    assert len(set(names)) == len(names)
    for group in rule["spec"]["groups"]:
        assert group.keys() == {"name", "rules"}
        for one in group["rules"]:
            assert one.keys() <= {"record", "alert", "expr", "for", "labels", "annotations"}
            assert ("record" in one) is not ("alert" in one)
            assert DURATION.fullmatch(one.get("for", "0s"))
            texts = {**one.get("labels", {}), **one.get("annotations", {})}
            assert all(isinstance(text, str) for text in texts.values())


def test_the_scaled_object_has_kedas_fields() -> None:
    (scaled,) = of_kind("everything", "ScaledObject")
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    known = {"scaleTargetRef", "pollingInterval", "minReplicaCount", "maxReplicaCount", "advanced", "triggers"}
    assert scaled["spec"].keys() == known
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 1}},
    }
    target = scaled["spec"]["scaleTargetRef"]
    made = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 8, "behavior": behavior, "metrics": [metric]}
    autoscaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "made"}}
    assert faults({**autoscaler, "spec": made}, OLDEST) == ""
    for trigger in scaled["spec"]["triggers"]:
        assert trigger.keys() == {"type", "name", "metricType", "metadata"}
        assert trigger["metricType"] in ("AverageValue", "Value")
        assert trigger["metadata"].keys() == {"serverAddress", "query", "threshold", "ignoreNullValues"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
