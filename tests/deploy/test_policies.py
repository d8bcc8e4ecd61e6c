"""Rules of our own on what is built: who may do what, what survives a change of nodes, who reaches whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.settings import Settings
from tests.deploy.built import (
    ALL,
    AS_WRITTEN,
    KEPT_RUNNING,
    component_of,
    container_of,
    containers,
    labels_of,
    of_kind,
    pods,
    selects,
    settings_of,
    workload,
    workloads,
)

every_variant = pytest.mark.parametrize("variant", ALL)


@every_variant
def test_a_restricted_namespace_takes_every_pod(variant: str) -> None:
    """What the Pod Security Standard `restricted` asks for, and a root file system that nothing can change."""
    for pod in pods(variant):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers", "serviceAccountName"}
        allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
        assert all(volume.keys() - {"name"} <= allowed for volume in pod["volumes"])
    for container in containers(variant):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
    (namespace,) = of_kind(variant, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_variant
def test_no_pod_speaks_to_the_cluster_or_hears_of_its_services(variant: str) -> None:
    """Kubernetes would put `SIDESTREAM_PORT` and the like into the environment, beside the settings."""
    for pod in pods(variant):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False


@every_variant
def test_memory_is_bounded_and_processors_are_asked_for(variant: str) -> None:
    for container in containers(variant):
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert container["resources"]["limits"].keys() >= {"memory"}
        assert "cpu" not in container["resources"]["limits"], "a worker that is throttled is late"


@every_variant
def test_what_keeps_running_has_all_three_probes(variant: str) -> None:
    for one in of_kind(variant, *KEPT_RUNNING):
        assert container_of(one).keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}


@every_variant
def test_workers_keep_their_rows_and_their_names(variant: str, tmp_path: Path) -> None:
    worker = workload(variant, "worker")["spec"]
    (claim,) = worker["volumeClaimTemplates"]
    mounts = {
        mount["name"]: mount["mountPath"] for mount in worker["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    assert mounts[claim["metadata"]["name"]] == settings_of(variant, "worker", tmp_path).data_dir
    assert worker["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@every_variant
def test_workers_are_spread_and_leave_one_after_the_other(variant: str) -> None:
    worker = workload(variant, "worker")
    spread = worker["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(selects(one["labelSelector"], labels_of(worker)) for one in spread)
    (budget,) = of_kind(variant, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert [component_of(one) for one in workloads(variant) if selects(budget["spec"]["selector"], labels_of(one))] == [
        "worker"
    ]


@every_variant
def test_the_trainer_is_alone_with_its_checkpoints(variant: str) -> None:
    trainer = workload(variant, "trainer")["spec"]
    assert trainer["replicas"] == 1
    assert trainer["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("variant", ["production", "small"])
def test_no_more_workers_than_partitions(variant: str, tmp_path: Path) -> None:
    assert workload(variant, "worker")["spec"]["replicas"] <= settings_of(variant, "worker", tmp_path).kafka.partitions


def test_one_node_shares_one_disk() -> None:
    """A disk that one node may write: pods elsewhere would wait for it for ever."""
    (claim,) = of_kind("small", "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    for component in ("worker", "trainer"):
        (term,) = workload("small", component)["spec"]["template"]["spec"]["affinity"]["podAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        wanted = {one["key"]: one["values"] for one in term["labelSelector"]["matchExpressions"]}
        assert all(labels_of(workload("small", component))[key] in values for key, values in wanted.items())
    for variant in (AS_WRITTEN, "production"):
        (claim,) = of_kind(variant, "PersistentVolumeClaim")
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_a_gpu_is_the_trainers() -> None:
    assert container_of(workload("everything", "trainer"))["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in container_of(workload("everything", "worker"))["resources"]["limits"]
    assert "nvidia.com/gpu" not in container_of(workload("production", "trainer"))["resources"]["limits"]


def policies_for(component: str) -> list[dict[str, Any]]:
    labels = labels_of(workload("production", component))
    found = of_kind("production", "NetworkPolicy")
    return [one["spec"] for one in found if selects(one["spec"]["podSelector"], labels)]


def rules_for(component: str, way: str) -> list[dict[str, Any]]:
    return [rule for policy in policies_for(component) for rule in policy.get(way, [])]


@pytest.mark.parametrize("component", ["worker", "trainer", "topics"])
def test_what_no_rule_names_is_refused(component: str) -> None:
    closed = {way for policy in policies_for(component) for way in policy["policyTypes"]}
    assert closed == {"Ingress", "Egress"}
    for rule in [*rules_for(component, "ingress"), *rules_for(component, "egress")]:
        assert rule.get("from") or rule.get("to"), "anybody"
        assert rule["ports"], "any port"


@pytest.mark.parametrize("component", ["worker", "trainer", "topics"])
@pytest.mark.parametrize("settings", [AS_WRITTEN, "production"])
def test_every_pod_reaches_dns_and_the_brokers(component: str, settings: str, tmp_path: Path) -> None:
    egress = rules_for(component, "egress")
    to_dns = [rule for rule in egress if {port["port"] for port in rule["ports"]} == {53}]
    assert {port["protocol"] for rule in to_dns for port in rule["ports"]} == {"UDP", "TCP"}
    host, _, port = settings_of(settings, component, tmp_path).kafka.bootstrap_servers.partition(":")
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": host.partition(".")[2]}}
    assert any(
        {"namespaceSelector": namespace} in rule["to"] and int(port) in {one["port"] for one in rule["ports"]}
        for rule in egress
    )


def test_workers_reach_each_other_and_only_they() -> None:
    def has_peers(rules: list[dict[str, Any]], side: str) -> bool:
        workers = {"podSelector": {"matchLabels": labels_of(workload("production", "worker"))}}
        return any(workers in rule[side] and {"protocol": "TCP", "port": "http"} in rule["ports"] for rule in rules)

    assert has_peers(rules_for("worker", "ingress"), "from")
    assert has_peers(rules_for("worker", "egress"), "to")
    assert not has_peers(rules_for("trainer", "egress"), "to")
    assert not rules_for("topics", "ingress")


@pytest.mark.parametrize("component", ["worker", "trainer"])
def test_prometheus_reaches_what_it_scrapes(component: str) -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    (port,) = container_of(workload("production", component))["ports"]
    allowed = [rule for rule in rules_for(component, "ingress") if monitoring in rule["from"]]
    assert [one["port"] for rule in allowed for one in rule["ports"]] == [port["name"]]


def test_balancers_have_time_to_notice_a_worker_that_stops(tmp_path: Path) -> None:
    assert settings_of("production", "worker", tmp_path).serving.drain_s > Settings().serving.drain_s
