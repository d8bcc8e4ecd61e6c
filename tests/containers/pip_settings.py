"""How this machine's pip reaches its packages, lent to a build: mounted read-only, so in no layer of the image."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

FILE_URL = "file://"


def pip_settings() -> dict[str, str]:
    """What pip is configured to by its files and, stronger, by the environment."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found: dict[str, str] = {}
    for line in sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in ("global", "install", ":env:"):
            found[key] = str(ast.literal_eval(value))
    return found


def named_places(settings: dict[str, str]) -> list[Path]:
    """Files and folders of this machine that the settings name. Of an index in a folder, the folder around it: what it
    lists lies beside it."""
    words = [word for value in settings.values() for word in value.split()]
    found = [Path(word.removeprefix(FILE_URL)).parent for word in words if word.startswith(FILE_URL)]
    found += [Path(word) for word in words if word.startswith("/")]
    return [place for place in dict.fromkeys(found) if place.exists()]


def pip_mounts(folder: Path) -> list[str]:
    """Options of `podman build`; `folder` must live as long as the build."""
    settings = pip_settings()
    written = folder / "pip.conf"
    lines = [f"{key} = {' '.join(value.split())}" for key, value in settings.items()]
    written.write_text("\n".join(["[global]", *lines, ""]))
    mounts = [f"{written}:/etc/pip.conf:ro", *(f"{place}:{place}:ro" for place in named_places(settings))]
    return [f"--volume={mount}" for mount in mounts]
