"""What Prometheus and KEDA are told: the rules of deploy/alerts.yml, the jobs that they ask for, series that exist."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.built import (
    DEPLOY,
    KUBERNETES,
    component_of,
    container_of,
    labels_of,
    of_kind,
    selects,
    settings_of,
    workload,
    workloads,
)
from tests.test_deploy import MATCHER, SERIES, alert_rules, exposed_series

JOBS = {"worker": "sidestream", "trainer": "sidestream-trainer"}


def monitors() -> Iterator[tuple[str, dict[str, Any]]]:
    """(component, PodMonitor) of each."""
    for monitor in of_kind("production", "PodMonitor"):
        selector = monitor["spec"]["selector"]
        (component,) = {component_of(one) for one in workloads("production") if selects(selector, labels_of(one))}
        yield component, monitor


def test_the_prometheus_rule_is_made_of_the_alerts() -> None:
    """By `make manifests`."""
    made = runpy.run_path(str(KUBERNETES / "rules.py"))
    assert made["RULES"].read_text() == made["prometheus_rule"](), "alerts.yml has changed: run `make manifests`"
    (rule,) = of_kind("production", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((DEPLOY / "alerts.yml").read_text())


def test_a_change_of_the_alerts_is_noticed_and_written(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    alerts = (DEPLOY / "alerts.yml").read_text().replace("for: 1h", "for: 2h")
    (tmp_path / "alerts.yml").write_text(alerts)
    made = runpy.run_path(str(tmp_path / "kubernetes/rules.py"), run_name="__main__")
    assert "for: 2h" in made["RULES"].read_text()
    assert made["RULES"].is_relative_to(tmp_path)


def test_workers_and_trainer_are_scraped_under_the_names_that_the_rules_ask_for() -> None:
    jobs = {}
    for component, monitor in monitors():
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] == container_of(workload("production", component))["ports"][0]["name"]
        assert endpoint["path"] == "/metrics"
        (relabeling,) = endpoint["relabelings"]
        assert relabeling["targetLabel"] == "job"
        jobs[component] = relabeling["replacement"]
    assert jobs == JOBS
    asked = {value for rule in alert_rules() for label, value in MATCHER.findall(rule["expr"]) if label == "job"}
    assert asked == set(JOBS.values())


def test_every_resource_is_in_the_namespace() -> None:
    """The operator's, too: a PodMonitor finds pods of its own namespace."""
    for document in of_kind("production", "PodMonitor", "PrometheusRule", "NetworkPolicy", "ConfigMap", "Job"):
        assert document["metadata"]["namespace"] == "sidestream"


def scrapes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((KUBERNETES / "prometheus.yml").read_text())["scrape_configs"]
    return found


def test_the_plain_scrape_configuration_keeps_the_same_pods_under_the_same_names() -> None:
    def label(name: str) -> str:
        return "__meta_kubernetes_pod_label_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)

    names = ("app.kubernetes.io/name", "app.kubernetes.io/component")
    for component, job in JOBS.items():
        scrape = next(one for one in scrapes() if one["job_name"] == job)
        pods, ports, *_ = [one for one in scrape["relabel_configs"] if one.get("action") == "keep"]
        assert pods["source_labels"] == [label(name) for name in names]
        assert pods["regex"] == ";".join(labels_of(workload("production", component))[name] for name in names)
        assert ports["regex"] == container_of(workload("production", component))["ports"][0]["name"]
        assert all("target_label" not in one or one["target_label"] != "job" for one in scrape["relabel_configs"])


def promtool(*arguments: str, cwd: Path) -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run([found, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_plain_scrape_configuration(tmp_path: Path) -> None:
    """But for the discovery of pods, which Debian's Prometheus is built without."""
    configuration = yaml.safe_load((KUBERNETES / "prometheus.yml").read_text())
    for scrape in configuration["scrape_configs"]:
        assert scrape.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["sidestream"]}}]
    configuration["rule_files"] = [str((KUBERNETES / name).resolve()) for name in configuration["rule_files"]]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    promtool("check", "config", "prometheus.yml", cwd=tmp_path)


def triggers() -> list[dict[str, Any]]:
    (scaled,) = of_kind("everything", "ScaledObject")
    found: list[dict[str, Any]] = scaled["spec"]["triggers"]
    return found


def test_workers_are_scaled_by_lag_and_slow_answers_that_they_export(tmp_path: Path) -> None:
    queries = {trigger["name"]: trigger["metadata"]["query"] for trigger in triggers()}
    asked = {series for query in queries.values() for series in SERIES.findall(query)}
    assert asked == {"sidestream_consumer_lag", "sidestream_recommend_seconds_bucket"}
    assert asked <= exposed_series()
    rules = [{"record": f"asked:{name}", "expr": query} for name, query in queries.items()]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "scaling", "rules": rules}]}))
    promtool("check", "rules", "rules.yml", cwd=tmp_path)


def test_an_unknown_lag_is_not_none_and_no_requests_are_no_slow_ones(tmp_path: Path) -> None:
    """KEDA leaves the number of workers as it is where a query finds nothing; it takes NaN for nothing, too."""
    queries = {trigger["name"]: trigger["metadata"]["query"] for trigger in triggers()}
    bucket = "sidestream_recommend_seconds_bucket"
    lag = "sidestream_consumer_lag"

    def case(series: dict[str, str], name: str, expected: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": series_, "values": values} for series_, values in series.items()],
            "promql_expr_test": [{"expr": queries[name], "eval_time": "10m", "exp_samples": expected}],
        }

    cases = [
        case({}, "lag", []),
        # Two workers tell of one partition: it counts once.
        case(
            {
                f'{lag}{{topic="uploads",partition="0",instance="a"}}': "7000x20",
                f'{lag}{{topic="uploads",partition="0",instance="b"}}': "6000x20",
                f'{lag}{{topic="uploads",partition="1",instance="b"}}': "1000x20",
            },
            "lag",
            [{"labels": "{}", "value": 8000}],
        ),
        case({}, "answers", [{"labels": "{}", "value": 0}]),
        case(
            {f'{bucket}{{le="0.05"}}': "5x20", f'{bucket}{{le="+Inf"}}': "5x20"},
            "answers",
            [{"labels": "{}", "value": 0}],
        ),
        case(
            {
                f'{bucket}{{le="0.05"}}': "0+60x20",
                f'{bucket}{{le="0.1"}}': "0+6000x20",
                f'{bucket}{{le="+Inf"}}': "0+6000x20",
            },
            "answers",
            [{"labels": "{}", "value": 0.0994949494949495}],
        ),
    ]
    (tmp_path / "cases.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": cases}))
    promtool("test", "rules", "cases.yml", cwd=tmp_path)
    assert {trigger["metadata"]["ignoreNullValues"] for trigger in triggers()} == {"false"}


def test_the_number_of_workers_is_its_and_partitions_bound_it(tmp_path: Path) -> None:
    (scaled,) = of_kind("everything", "ScaledObject")
    target = scaled["spec"]["scaleTargetRef"]
    worker = workload("everything", "worker")
    assert (target["kind"], target["name"]) == (worker["kind"], worker["metadata"]["name"])
    assert "replicas" not in worker["spec"]
    assert workload("production", "worker")["spec"]["replicas"] >= 2
    partitions = settings_of("everything", "worker", tmp_path).kafka.partitions
    assert 2 <= scaled["spec"]["minReplicaCount"] <= scaled["spec"]["maxReplicaCount"] <= partitions


def test_a_cluster_without_keda_or_the_operator_is_not_broken() -> None:
    for variant in ("base as written", "small"):
        groups = {
            document["apiVersion"] for document in of_kind(variant, "PodMonitor", "PrometheusRule", "ScaledObject")
        }
        assert not groups
