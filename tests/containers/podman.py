"""Podman with a storage of its own, and the images that the tests need, made without any registry.

Nothing of the user's own images and containers is touched: storage lies in SIDESTREAM_TEST_CONTAINERS (default:
`~/.cache/sidestream-containers`), layers are kept there between runs. An image that lies there under the name that
compose.yaml has (`podman pull`ed with the same variables) is used; one that does not is made of Debian's packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.clusters import REPOSITORY, kafka_home
from tests.containers.pip_settings import pip_mounts

HOME = Path(os.environ.get("SIDESTREAM_TEST_CONTAINERS", Path.home() / ".cache/sidestream-containers"))
BASE = "localhost/sidestream-test/debian"
STAND_INS = Path(__file__).parent / "stand_ins"
LEFT_OUT = ("doc", "man", "locale", "info")
BUILD_S = 2400.0


class PodmanError(RuntimeError):
    """Podman refused; the message is its own."""


@cache
def environment() -> dict[str, str]:
    """What makes podman, and podman-compose, use that storage."""
    HOME.mkdir(parents=True, exist_ok=True)
    running = Path(tempfile.gettempdir()) / f"sidestream-containers-{os.getuid()}"
    storage, engine = HOME / "storage.conf", HOME / "containers.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{HOME / "storage"}"\nrunroot = "{running}"\n')
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    limits = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
    engine.write_text(f'{limits}[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n{runtime}')
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(engine)}


def podman(*arguments: str, seconds: float = 120.0) -> str:
    """What podman prints. Raises `PodmanError`."""
    ran = subprocess.run(
        ["podman", *arguments], env=environment(), capture_output=True, text=True, timeout=seconds, check=False
    )
    if ran.returncode:
        raise PodmanError(f"podman {' '.join(arguments)}: {ran.stderr[-2000:]}{ran.stdout[-2000:]}")
    return ran.stdout.strip()


def has(kind: str, name: str) -> bool:
    """Whether there is an image, a container, a volume, … of the name."""
    return not subprocess.run(["podman", kind, "exists", name], env=environment(), check=False).returncode


@cache
def why_no_podman() -> str | None:
    """Why nothing can be built and started here, or None if it can."""
    missing = [name for name in ("podman", "mmdebstrap", "openssl") if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} on the PATH: apt-get install podman runc netavark aardvark-dns mmdebstrap"
    try:
        podman("run", "--rm", "--network=host", base_image(), "python3", "-c", "print(1)")
    except (PodmanError, subprocess.SubprocessError) as error:
        return f"podman starts no container here: {error}"
    return None


def base_image() -> str:
    """Debian with Python 3.11, from its packages."""
    if not has("image", BASE):
        print("base image: mmdebstrap …", flush=True)
        with tempfile.TemporaryDirectory(dir=HOME) as folder:
            left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
            packages = "--include=python3,libgomp1,ca-certificates"
            made = ["mmdebstrap", "--variant=minbase", *left_out, packages, "bookworm", f"{folder}/base.tar"]
            ran = subprocess.run(made, capture_output=True, text=True, timeout=BUILD_S, check=False)
            if ran.returncode:
                raise PodmanError(f"mmdebstrap: {ran.stderr[-2000:]}")
            podman("import", f"{folder}/base.tar", BASE, seconds=BUILD_S)
    return BASE


def built(tag: str, **arguments: str) -> str:
    """The image of deploy/Containerfile, by its tag; steps are printed as they go."""
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        options = [*pip_mounts(Path(folder)), "-f", str(REPOSITORY / "deploy/Containerfile")]
        _build(tag, REPOSITORY, [*options, *_arguments({"BASE": base_image(), **arguments})])
    return tag


def kafka_image(name: str) -> str:
    """Kafka under the name that compose.yaml has."""
    if not has("image", name):
        with tempfile.TemporaryDirectory(dir=HOME) as folder:
            shutil.copytree(kafka_home() / "libs", f"{folder}/libs")
            shutil.copy(STAND_INS / "kafka_entry.py", folder)
            _stand_in("kafka", name, Path(folder))
    return name


def prometheus_image(name: str) -> str:
    """Prometheus under the name that compose.yaml has."""
    if not has("image", name):
        with tempfile.TemporaryDirectory(dir=HOME) as folder:
            _stand_in("prometheus", name, Path(folder))
    return name


def _stand_in(what: str, name: str, context: Path) -> None:
    recipe = str(STAND_INS / f"{what}.Containerfile")
    _build(name, context, ["-f", recipe, *_arguments({"BASE": base_image()})])


def _arguments(given: Mapping[str, str]) -> list[str]:
    return [f"--build-arg={name}={value}" for name, value in given.items()]


def _build(tag: str, context: Path, options: Sequence[str]) -> None:
    fixed = ["--format=docker", "--isolation=chroot", "--pull=never", "--network=host", "--layers"]
    log = HOME / f"build-{tag.replace('/', '-').replace(':', '-')}.log"
    print(f"building {tag} (log: {log}) …", flush=True)
    with log.open("w") as out:
        command = ["podman", "build", *fixed, *options, "-t", tag, str(context)]
        ran = subprocess.run(command, env=environment(), stdout=out, stderr=out, timeout=BUILD_S, check=False)
    if ran.returncode:
        raise PodmanError(f"building {tag} failed: {log.read_text()[-3000:]}")
