"""The manifests as a cluster would get them, built by `kubectl kustomize`, and the base as it is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from store.settings import Settings, load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
AS_WRITTEN = "base as written"
"""Can be looked at without kubectl."""
VARIANTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "small": ("overlays/small", ()),
    "production": ("overlays/production", ()),
    "everything": ("overlays/production", ("autoscaling", "gpu")),
    "mutual TLS": ("base", ("kafka-mtls",)),
}
"""Name → what is built, and the components beside it."""
ALL = (AS_WRITTEN, *VARIANTS)
KEPT_RUNNING = ("StatefulSet", "Deployment")

Document = dict[str, Any]


def kustomize() -> list[str]:
    """The command that builds a folder; skips the test where there is none."""
    if found := shutil.which("kubectl"):
        return [found, "kustomize"]
    if found := shutil.which("kustomize"):
        return [found, "build"]
    pytest.skip("neither kubectl nor kustomize is installed: the base is looked at as it is written")


def build(folder: Path, *components: str) -> list[Document]:
    """What `kubectl apply -k` would apply for a folder of deploy/kubernetes or a copy of it, with more components."""
    command = kustomize()
    if not components:
        return _run(command, folder)
    with tempfile.TemporaryDirectory() as made:
        root = next(above for above in folder.parents if (above / "components").is_dir())
        beside = [os.path.relpath(root / "components" / name, made) for name in components]
        file = {"resources": [os.path.relpath(folder, made)], "components": beside}
        (Path(made) / "kustomization.yaml").write_text(yaml.safe_dump(file))
        return _run(command, Path(made))


def _run(command: list[str], folder: Path) -> list[Document]:
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # what is deprecated is said there
    return list(yaml.safe_load_all(done.stdout))


@cache
def documents(variant: str) -> tuple[Document, ...]:
    if variant != AS_WRITTEN:
        folder, components = VARIANTS[variant]
        return tuple(build(KUBERNETES / folder, *components))
    base = KUBERNETES / "base"
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    found = [document for name in listed for document in yaml.safe_load_all((base / name).read_text())]
    config = {"kind": "ConfigMap", "metadata": {"name": "sidestream-setup"}}
    return (*found, {**config, "data": {"sidestream.toml": (base / "sidestream.toml").read_text()}})


def of_kind(variant: str, *kinds: str) -> list[Document]:
    return [document for document in documents(variant) if document["kind"] in kinds]


def workloads(variant: str) -> list[Document]:
    """Whatever makes pods."""
    return [document for document in documents(variant) if "template" in document.get("spec", {})]


def pods(variant: str) -> list[Document]:
    return [one["spec"]["template"]["spec"] for one in workloads(variant)]


def labels_of(workload: Document) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def component_of(workload: Document) -> str:
    return labels_of(workload)["app.kubernetes.io/component"]


def workload(variant: str, component: str) -> Document:
    return next(one for one in workloads(variant) if component_of(one) == component)


def container_of(workload: Document) -> Document:
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    found: Document = only
    return found


def containers(variant: str) -> Iterator[Document]:
    yield from map(container_of, workloads(variant))


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def settings_toml(variant: str) -> str:
    (config,) = of_kind(variant, "ConfigMap")
    text: str = config["data"]["sidestream.toml"]
    return text


def environment_of(container: Mapping[str, Any]) -> dict[str, str]:
    """Its variables; what comes of a Secret is `from-a-secret`."""
    return {one["name"]: one.get("value", "from-a-secret") for one in container["env"]}


def settings_of(variant: str, component: str, folder: Path) -> Settings:
    """The settings that a process of the component has in its pod. `folder` is free to write in."""
    file = folder / "sidestream.toml"
    file.write_text(settings_toml(variant))
    assert tomllib.loads(file.read_text())
    environment = environment_of(container_of(workload(variant, component)))
    return load_settings(file, {name: value for name, value in environment.items() if name != "SIDESTREAM_SETTINGS"})
