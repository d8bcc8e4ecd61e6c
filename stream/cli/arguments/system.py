"""System: which running system a command is about, from its options, the environment, a settings file or a data folder.

`sidestream up` writes `addresses.json` into its data folder: `{"bootstrap_servers", "url", "pid", ...}`. What is named
explicitly (option, then environment, then settings file) comes first, then that file, then the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from store.settings import Settings, load_settings
from stream.up.addresses import DamagedAddressesError, is_running, read_addresses


class NotRunningError(RuntimeError):
    """No system runs where it was looked for: start one with `sidestream up`, or name another folder or address."""


@dataclass(frozen=True, slots=True)
class System:
    """A system to act on. `url` has no trailing slash; `metrics` is where each process of one machine is scraped."""

    settings: Settings
    url: str
    metrics: Mapping[str, str] = field(default_factory=dict)


def find_system(
    data_dir: Path | None = None,
    bootstrap_servers: str | None = None,
    url: str | None = None,
    settings_file: Path | None = None,
) -> System:
    """The system that these options mean. Raises `NotRunningError` when a data folder is named where nothing runs."""
    named = settings_for(data_dir, bootstrap_servers, settings_file)
    defaults = Settings()
    brokers_named = named.kafka.bootstrap_servers != defaults.kafka.bootstrap_servers
    serving, usual = named.serving, defaults.serving
    url_named = url or (serving.host, serving.port) != (usual.host, usual.port)
    found = {}
    if not (brokers_named and url_named):
        found = _addresses(Path(named.data_dir), required=data_dir is not None and not (brokers_named or url))
    # `up` leaves its settings beside its addresses: topic names and limits come from there.
    left = Path(found["settings"]) if settings_file is None and found.get("settings") else settings_file
    settings = settings_for(data_dir, bootstrap_servers, left)
    if not brokers_named and found.get("bootstrap_servers"):
        settings = with_bootstrap(settings, str(found["bootstrap_servers"]))
    if not url_named:
        url = found.get("url")
    url = (url or settings.serving.url_at(settings.serving.host, settings.serving.port)).rstrip("/")
    return System(settings, url, found.get("metrics") or {} if url == found.get("url") else {})


def settings_for(
    data_dir: Path | None = None, bootstrap_servers: str | None = None, settings_file: Path | None = None
) -> Settings:
    """Settings with what the options say on top."""
    settings = load_settings(settings_file)
    if data_dir is not None:
        settings = msgspec.structs.replace(settings, data_dir=str(data_dir))
    return with_bootstrap(settings, bootstrap_servers) if bootstrap_servers else settings


def with_bootstrap(settings: Settings, bootstrap_servers: str) -> Settings:
    """The settings with other brokers."""
    kafka = msgspec.structs.replace(settings.kafka, bootstrap_servers=bootstrap_servers)
    return msgspec.structs.replace(settings, kafka=kafka)


def _addresses(folder: Path, required: bool) -> dict[str, Any]:
    """What `up` wrote into the folder, when the system still runs; else nothing, or `NotRunningError` if `required`."""
    again = f"`sidestream up --data-dir {folder}`"
    try:
        found = read_addresses(folder)
    except DamagedAddressesError as error:
        raise NotRunningError(str(error)) from None
    except OSError:
        return _nothing(
            f"no system was started in {folder}: run {again}, or give --bootstrap-servers and --url", required
        )
    if not is_running(found):
        return _nothing(f"the system in {folder} has ended: start it again with {again}", required)
    if not found.get("ready", True):
        return _nothing(f"the system in {folder} is still starting: wait until it has printed `ready`", required)
    return found


def _nothing(why: str, required: bool) -> dict[str, Any]:
    if required:
        raise NotRunningError(why)
    return {}
