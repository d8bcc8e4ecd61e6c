"""The supervisor: starts the parts of one machine's system in order, announces it, and watches over it.

A child that ends is started again and goes on from the log. When this process ends, by a signal or a kill, its children
end too; started again on the same folder, everything goes on where it was, at the same addresses if they are free.

Invariant: what cannot be written (addresses, logs) is told and done without; only what the parts cannot work without
keeps the system from starting.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec

from store.files.folder_lock import FolderLock
from store.reporting.log_lines import is_json
from store.security import trust
from store.settings import Serving, Settings, to_toml
from stream.kafka.connections import quiet_clients
from stream.kafka.topics import create_topics
from stream.up.addresses import ADDRESSES, DamagedAddressesError, read_addresses, write_addresses
from stream.up.child import Child
from stream.up.leftovers import end_leftovers
from stream.up.ports import answers, choose, free_port, is_free, listens, port_of
from stream.up.process_identity import started

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
TELL_EVERY_S = 60.0


class StartError(RuntimeError):
    """A part did not start: the message names its log; mend what it says and start again."""


class StoppedError(RuntimeError):
    """A signal came before the system was ready."""


class Supervisor:
    """The parts of one machine's system, in the order in which they start."""

    def __init__(
        self,
        settings: Settings,
        *,
        web_port: int | None,
        broker_port: int | None,
        embedded: bool,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder = Path(settings.data_dir).absolute()
        before = _last(self.folder)
        end_leftovers(self.folder, before, tell)
        self.settings = _with_ports(settings, before, web_port, broker_port, embedded)
        self.children: list[Child] = []
        self._embedded = embedded
        self._stopped = stopped
        self._ready = False
        self._written = True
        self._scraped = False
        self._restarts: dict[str, tuple[str, float]] = {}

    @property
    def url(self) -> str:
        """Where the worker answers."""
        return self.settings.serving.url_at(self.settings.serving.host, self.settings.serving.port)

    def start(self) -> None:
        """Returns when requests can be served. Raises `StartError`."""
        self._write_settings()
        file = self.folder / "settings.toml"
        if self._embedded:
            port = self._port_of_broker()
            broker = self._launch("broker", "-m", "stream.broker", *self._broker_arguments(port))
            self._await(broker, port, lambda: answers(port))
        quiet_clients()
        create_topics(self.settings)
        worker = self._launch("worker", "-m", "stream.cli", "worker", "--role", "all", "--settings", str(file))
        self._launch("trainer", "-m", "stream.cli", "trainer", "--settings", str(file))
        self._await(worker, self.settings.serving.port, lambda: _is_ready(self.url, self.settings.serving))
        self._ready = True
        self._note_addresses()

    def _broker_arguments(self, port: int) -> list[str]:
        told = self.settings.logging
        return [
            *("--data-dir", str(self.folder / "broker"), "--port", str(port)),
            *("--log-format", told.format, "--log-level", told.level, "--log-levels", json.dumps(told.levels)),
        ]

    def _write_settings(self) -> None:
        file = self.folder / "settings.toml"
        try:
            file.touch(mode=0o600)
            file.chmod(0o600)  # a password may be in it
            file.write_text(to_toml(self.settings))
        except OSError as error:
            raise StartError(
                f"cannot write {file} ({error.strerror}): make room or mend the folder, or give another --data-dir"
            ) from None

    def watch(self) -> None:
        """Starts children again that end, until stopped."""
        while not self._stopped():
            self._have_trainer_scraped()
            for child in self.children:
                if child.due():
                    self._tell_restart(child.name, f"the {child.name} ended ({child.cause()}): starting it again")
                    try:
                        child.start()
                    except OSError as error:
                        tell(f"the {child.name} cannot be started ({error.strerror}): trying again")
                    self._note_addresses()
            time.sleep(0.2)

    def _tell_restart(self, name: str, text: str) -> None:
        """A part that ends again and again for one reason is told of once a minute."""
        last, at = self._restarts.get(name, ("", 0.0))
        if text != last or time.monotonic() - at >= TELL_EVERY_S:
            self._restarts[name] = text, time.monotonic()
            tell(text)

    def _have_trainer_scraped(self) -> None:
        """Once: gives the trainer another port for its metrics if somebody else was quicker. It goes on without any
        where the worker would not, so nothing else would notice."""
        port = self.settings.training.metrics_port
        trainer = next((child for child in self.children if child.name == "trainer"), None)
        if self._scraped or trainer is None or trainer.ended():
            return
        if port < 0 or listens(trainer.pid or 0, port) is not False:
            self._scraped = True
        elif answers(port):
            training = msgspec.structs.replace(self.settings.training, metrics_port=free_port())
            self.settings = msgspec.structs.replace(self.settings, training=training)
            tell(f"port {port} is taken: the trainer's metrics are at {training.metrics_port}")
            trainer.stop()
            try:
                self._write_settings()
                trainer.start()
            except (OSError, StartError) as error:
                tell(str(error))
            self._note_addresses()

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()
        self._note_addresses(stopped=True)

    def has_lost_a_port(self) -> bool:
        """Whether somebody else listens, or will, where a part of this system wanted to."""
        wanted = [(self._port_of_broker(), "broker"), (self.settings.serving.port, "worker")]
        parts = {child.name: child for child in self.children}
        return any(
            name in parts and parts[name].ended() and (not is_free(port) or "in use" in parts[name].last_words())
            for port, name in wanted
        )

    def addresses(self) -> dict[str, Any]:
        """What others need to find this system and its processes; also what addresses.json holds."""
        running = {child.name: child.pid for child in self.children if child.pid is not None}
        return {
            "bootstrap_servers": self.settings.kafka.bootstrap_servers,
            "url": self.url,
            "metrics": self._metrics(),
            "ready": self._ready,
            "pid": os.getpid(),
            "started": started(os.getpid()),
            "pids": running,
            "processes": {name: {"pid": pid, "started": started(pid)} for name, pid in running.items()},
            "data_dir": str(self.folder),
            "settings": str(self.folder / "settings.toml"),
        }

    def _port_of_broker(self) -> int:
        return port_of(self.settings.kafka.bootstrap_servers) or 0

    def _metrics(self) -> dict[str, str]:
        """Where each process is scraped."""
        training = self.settings.training
        found = {"worker": f"{self.url}/metrics"}
        if training.metrics_port > 0:
            found["trainer"] = f"http://{training.metrics_host}:{training.metrics_port}/metrics"
        return found

    def _launch(self, name: str, *arguments: str) -> Child:
        child = Child(name, [sys.executable, *arguments], self.folder / "logs" / f"{name}.log", tell)
        self.children.append(child)
        child.start()
        self._note_addresses()  # a start that is killed leaves processes, too
        return child

    def _await(self, child: Child, port: int, answered: Callable[[], bool]) -> None:
        """Returns when the child itself, and nobody else, answers at its port. One that lives is waited for, however
        long: on an empty folder, or a busy machine, a worker reads for minutes before it is ready."""
        told = time.monotonic()
        while not (answered() and listens(child.pid or 0, port) is not False):
            if self._stopped():
                raise StoppedError
            for part in (child, self.children[0]):  # nobody starts a broker again until all are ready
                if part.ended():
                    raise StartError(f"the {part.name} did not start: {part.last_words()} (all of it: {part.log})")
            if time.monotonic() - told > TELL_EVERY_S:
                told = time.monotonic()
                tell(f"the {child.name} is still starting: {child.last_words()} (all of it: {child.log})")
            time.sleep(0.05)

    def _note_addresses(self, stopped: bool = False) -> None:
        """Writes addresses.json; the first time that this fails, and the first that it works again, is told."""
        ended = {"pids": {}, "processes": {}, "ready": False, "stopped": True} if stopped else {}
        try:
            write_addresses(self.folder, {**self.addresses(), **ended})
        except OSError as error:
            if self._written:
                file = self.folder / ADDRESSES
                tell(f"{file} cannot be written ({error.strerror}): commands need --url {self.url} until it can")
            self._written = False
        else:
            if not self._written:
                tell(f"{self.folder / ADDRESSES} is written again")
            self._written = True


def run_up(settings: Settings, *, web_port: int | None, broker_port: int | None, embedded: bool, as_json: bool) -> None:
    """Runs until SIGTERM or SIGINT. Prints one line when it can serve.

    Raises `FolderInUseError`, `PortTakenError` or `StartError`, with nothing left running.
    """
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: signals.append(n))
    with FolderLock(Path(settings.data_dir).absolute(), "system"):
        for attempt in range(MOST_ATTEMPTS):
            up = Supervisor(
                settings, web_port=web_port, broker_port=broker_port, embedded=embedded, stopped=lambda: bool(signals)
            )
            try:
                up.start()
                _announce(up, as_json)
                up.watch()
                return
            except StoppedError:
                tell("stopped before it was ready")
                return
            except StartError:
                if attempt + 1 == MOST_ATTEMPTS or not up.has_lost_a_port():
                    raise
                tell("another system took the same ports at the same moment: taking others")
            finally:
                up.stop()


def _announce(up: Supervisor, as_json: bool) -> None:
    """The line that says where it is; where it cannot be written, the system runs all the same."""
    addresses = up.addresses()
    line = f"ready {up.url} (Kafka at {addresses['bootstrap_servers']})"
    try:
        print(json.dumps(addresses) if as_json or is_json() else line, flush=True)
    except OSError as error:
        tell(f"{line}; standard output cannot be written ({error.strerror})")


def tell(text: str) -> None:
    """A line for the person who looks on, or for the log that is for programs; a terminal or disk that is gone must not
    end the system."""
    if is_json():
        log.warning("%s", text)
        return
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _with_ports(
    settings: Settings, before: dict[str, Any], web_port: int | None, broker_port: int | None, embedded: bool
) -> Settings:
    """The settings at ports that are free."""
    folder = str(Path(settings.data_dir).absolute())
    serving, training, kafka = settings.serving, settings.training, settings.kafka
    port = choose(web_port, port_of(before.get("url")), serving.port, "--web-port", tell)
    serving = msgspec.structs.replace(serving, port=port, drain_s=0.0)  # no balancer stands before it
    if training.metrics_port >= 0:
        last = port_of(str((before.get("metrics") or {}).get("trainer", "")).removesuffix("/metrics"))
        wanted = None if training.metrics_port else 0
        port = choose(wanted, last, training.metrics_port, "training.metrics_port", tell)
        training = msgspec.structs.replace(training, metrics_port=port)
    if embedded:
        port = choose(broker_port, port_of(before.get("bootstrap_servers")), 9092, "--broker-port", tell)
        kafka = msgspec.structs.replace(kafka, bootstrap_servers=f"127.0.0.1:{port}")
    return msgspec.structs.replace(settings, data_dir=folder, serving=serving, kafka=kafka, training=training)


def _last(folder: Path) -> dict[str, Any]:
    """What the last start wrote; nothing when it cannot be read: it only makes the next start more comfortable."""
    try:
        return read_addresses(folder)
    except (OSError, DamagedAddressesError):
        return {}


def _is_ready(url: str, serving: Serving) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1.0, verify=trust(serving.tls)).status_code == 200
    except httpx.HTTPError:
        return False
