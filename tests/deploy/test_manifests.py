"""The manifests say what the code says, hold together, and give what changes another name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from store.security import security_of
from store.settings import unguarded
from stream.cli import app
from stream.web.openapi import document as openapi
from stream.worker_process import STOP_TIMEOUT_S
from tests.deploy.built import (
    ALL,
    DEPLOY,
    KEPT_RUNNING,
    KUBERNETES,
    VARIANTS,
    build,
    component_of,
    container_of,
    containers,
    documents,
    environment_of,
    kustomize,
    labels_of,
    of_kind,
    pods,
    selects,
    settings_of,
    workload,
    workloads,
)

command_line = cache(partial(typer.main.get_command, app))
paths = cache(lambda: frozenset(openapi()["paths"]))
every_variant = pytest.mark.parametrize("variant", ALL)


@every_variant
def test_topics_workers_and_trainer_are_there(variant: str) -> None:
    kinds = {component_of(one): one["kind"] for one in workloads(variant)}
    assert kinds == {"topics": "Job", "worker": "StatefulSet", "trainer": "Deployment"}
    assert {component_of(one): container_of(one)["args"][0] for one in workloads(variant)} == {
        name: name for name in kinds
    }


@every_variant
def test_commands_exist_and_need_no_shell(variant: str) -> None:
    for container in containers(variant):
        found: Any = command_line()
        for word in container["args"]:
            found = found.commands[word]
        assert "command" not in container
        assert "lifecycle" not in container


@every_variant
@pytest.mark.parametrize("component", ["worker", "trainer", "topics"])
def test_settings_are_valid_and_fit_ports_and_volumes(variant: str, component: str, tmp_path: Path) -> None:
    settings = settings_of(variant, component, tmp_path)
    found = workload(variant, component)
    ports = {"worker": settings.serving.port, "trainer": settings.training.metrics_port}
    assert [port["containerPort"] for port in container_of(found).get("ports", [])] == (
        [ports[component]] if component in ports else []
    )
    mounts = {mount["mountPath"]: mount for mount in container_of(found)["volumeMounts"]}
    if component != "topics":
        assert mounts[settings.data_dir].get("readOnly") is None
        assert mounts[settings.checkpoint_dir].get("readOnly", False) is (component == "worker")
    assert environment_of(container_of(found))["SIDESTREAM_SETTINGS"] in {f"{path}/sidestream.toml" for path in mounts}


@every_variant
def test_workers_have_tokens_and_an_address_of_their_own(variant: str, tmp_path: Path) -> None:
    serving = settings_of(variant, "worker", tmp_path).serving
    assert unguarded(serving) == ""
    assert not serving.open
    service = next(one for one in of_kind(variant, "Service") if one["spec"].get("clusterIP") == "None")
    assert serving.advertise == f"http://$(POD_NAME).{service['metadata']['name']}:{serving.port}"
    assert workload(variant, "worker")["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["publishNotReadyAddresses"] is True


@every_variant
def test_a_worker_drains_before_it_is_killed(variant: str, tmp_path: Path) -> None:
    drain_s = settings_of(variant, "worker", tmp_path).serving.drain_s
    grace_s = workload(variant, "worker")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert drain_s >= 5.0
    assert grace_s >= drain_s + STOP_TIMEOUT_S + 5.0


@every_variant
def test_probes_ask_for_paths_and_ports_that_exist(variant: str) -> None:
    for container in containers(variant):
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            if name in container:
                asked = container[name]["httpGet"]
                assert asked["path"] in paths()
                assert asked["port"] in {port["name"] for port in container["ports"]}
                assert asked["path"] == ("/readyz" if name == "readinessProbe" else "/healthz")


@every_variant
def test_whatever_is_referred_to_is_there(variant: str) -> None:
    there = {(one["kind"], one["metadata"]["name"]) for one in documents(variant)}
    readme = (DEPLOY / "README.md").read_text()
    for pod in pods(variant):
        volumes = {volume["name"] for volume in pod["volumes"]}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
        claims = {"rows"} if any(one["name"] == "worker" for one in pod["containers"]) else set()
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes | claims
    assert not of_kind(variant, "Secret"), "secrets are not committed"
    for name, key in secret_keys(variant):
        assert f"secret generic {name}" in readme
        assert re.search(rf"--from-\w+={re.escape(key)}=", readme), f"README does not say how {name}/{key} is made"


def secret_keys(variant: str) -> Iterator[tuple[str, str]]:
    """(Secret, key) of everything that pods want."""
    for pod in pods(variant):
        for variable in pod["containers"][0]["env"]:
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield variable["valueFrom"]["secretKeyRef"]["name"], variable["valueFrom"]["secretKeyRef"]["key"]
        for volume in pod["volumes"]:
            for item in volume.get("secret", {}).get("items", []):
                yield volume["secret"]["secretName"], item["key"]


@every_variant
def test_selectors_find_their_pods(variant: str) -> None:
    labels = {component_of(one): labels_of(one) for one in workloads(variant)}
    for one in of_kind(variant, *KEPT_RUNNING):
        assert selects(one["spec"]["selector"], labels_of(one))
    for service in of_kind(variant, "Service"):
        found = {name for name, of in labels.items() if selects({"matchLabels": service["spec"]["selector"]}, of)}
        assert found == {"worker"}
        (port,) = service["spec"]["ports"]
        assert port["targetPort"] == container_of(workload(variant, "worker"))["ports"][0]["name"]


@pytest.mark.parametrize("variant", ["production", "mutual TLS"])
@pytest.mark.parametrize("component", ["worker", "trainer", "topics"])
def test_every_process_is_secured_by_files_that_are_mounted(variant: str, component: str, tmp_path: Path) -> None:
    security = security_of(settings_of(variant, component, tmp_path).kafka)
    assert security.protocol == ("SASL_SSL" if variant == "production" else "SSL")
    pod = workload(variant, component)["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    volume = next(volume for volume in pod["volumes"] if "secret" in volume)
    files = {f"{mounts[volume['name']]}/{item['path']}" for item in volume["secret"]["items"]}
    named = {security.ca_file, security.password_file, security.certificate_file, security.key_file} - {""}
    assert named == files
    assert volume["secret"]["defaultMode"] == 0o440


def test_everything_runs_one_image() -> None:
    for variant in VARIANTS:
        assert len({container["image"] for container in containers(variant)}) == 1
    assert {container["image"] for container in containers("production")} == {"registry.example/sidestream:0.1.0"}


def copied(folder: Path) -> Path:
    shutil.copytree(KUBERNETES, folder / "kubernetes")
    return folder / "kubernetes"


def names_of(built: list[dict[str, Any]]) -> tuple[str, str]:
    """The topics job's, and that of the ConfigMap which the workers mount."""
    (job,) = (one["metadata"]["name"] for one in built if one["kind"] == "Job")
    (worker,) = (one for one in built if one["kind"] == "StatefulSet")
    volumes = worker["spec"]["template"]["spec"]["volumes"]
    (config,) = (volume["configMap"]["name"] for volume in volumes if "configMap" in volume)
    return job, config


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("overlays/small/sidestream.toml", "partitions = 4", "partitions = 5"),
        ("overlays/small/kustomization.yaml", "newTag: latest", 'newTag: "2"'),
        ("base/topics.yaml", "backoffLimit: 10", "backoffLimit: 11"),
    ],
)
def test_what_changes_the_topics_job_makes_it_a_new_one(tmp_path: Path, file: str, old: str, new: str) -> None:
    """A Job that is there takes no change: `kubectl apply` would be refused."""
    folder = copied(tmp_path)
    before = names_of(list(documents("small")))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    after = names_of(build(folder / "overlays/small"))
    assert after[0] != before[0], "the job keeps its name"
    assert after[1] != before[1], "the workers go on with what they have"


def test_a_component_that_changes_the_topics_job_gives_it_another_name() -> None:
    jobs = [one for name in VARIANTS for one in of_kind(name, "Job")]
    by_name = {job["metadata"]["name"]: job["spec"] for job in jobs}
    for job in jobs:
        assert by_name[job["metadata"]["name"]] == job["spec"]


def test_every_file_is_in_a_kustomization() -> None:
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        text = kustomization.read_text()
        for file in kustomization.parent.iterdir():
            assert file == kustomization or file.name in text, f"{kustomization} names no {file.name}"


def test_every_component_is_built_by_some_variant() -> None:
    kustomize()
    listed = yaml.safe_load((KUBERNETES / "overlays/production/kustomization.yaml").read_text())["components"]
    small = yaml.safe_load((KUBERNETES / "overlays/small/kustomization.yaml").read_text())["components"]
    built = {Path(one).name for one in [*listed, *small]} | {one for _, more in VARIANTS.values() for one in more}
    assert built == {folder.name for folder in (KUBERNETES / "components").iterdir()}
