"""The options that commands share, each declared once: which system a command is about, and how it answers.

    @command(app, takes=SCORER)
    def trace(options: Options, item_id: ...) -> None:

A command takes `options` first and says which of them it has; it is registered with its own parameters, then these. A
parameter whose type is a dataclass stands for its fields, each a parameter: so some commands share more.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from store.settings import Settings
from stream.cli.arguments.dashed import DashedArguments
from stream.cli.arguments.system import System, find_system, settings_for
from stream.terminal.output import emit, tell_failure

if TYPE_CHECKING:
    from stream.client.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person said of the system and of the form of the answer; an option that a command lacks keeps its default.

    Each has a SIDESTREAM_… variable and, but for --url and --json, a key in the settings file.
    """

    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            envvar="SIDESTREAM_DATA_DIR",
            help="Folder of a system started by `sidestream up`; its addresses are found there. [TOML: data_dir]",
        ),
    ] = None
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            "--bootstrap-servers",
            envvar="SIDESTREAM_BOOTSTRAP_SERVERS",
            help="Kafka brokers, host:port[,host:port…]. [TOML: kafka.bootstrap_servers]",
        ),
    ] = None
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            envvar="SIDESTREAM_URL",
            help="HTTP address of any worker, e.g. http://127.0.0.1:8470. [TOML: serving.host, serving.port]",
        ),
    ] = None
    settings_file: Annotated[
        Path | None,
        typer.Option("--settings", envvar="SIDESTREAM_SETTINGS", help="TOML file with all settings."),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False

    def settings(self) -> Settings:
        """The settings as they are said, for a process of its own."""
        return settings_for(self.data_dir, self.bootstrap_servers, self.settings_file)

    def system(self) -> System:
        """The running system that is meant. Raises `NotRunningError` when a data folder is named where nothing runs."""
        return find_system(self.data_dir, self.bootstrap_servers, self.url, self.settings_file)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client of the system's scorer."""
        with client_of(self.system()) as client:
            yield client

    def emit(self, document: Any, text: str | None = None) -> None:
        """Answers: the document with --json, else the text (None: nothing)."""
        emit(document, self.as_json, text)

    def fail(self, message: str) -> typer.Exit:
        """What to raise after telling, in one line, what went wrong and what to do."""
        tell_failure(message, self.as_json)
        return typer.Exit(1)


OUTPUT = ("as_json",)
SETTINGS = ("settings_file", "as_json")
LOG = ("data_dir", "bootstrap_servers", "settings_file", "as_json")
"""Of a command that reads or writes the log, or runs a process of its own."""
SCORER = ("data_dir", "url", "settings_file", "as_json")
"""Of a command that only asks a worker."""
SYSTEM = tuple(each.name for each in fields(Options))

Command = Callable[..., None]


def command(app: typer.Typer, *, takes: tuple[str, ...], name: str | None = None) -> Callable[[Command], Command]:
    """Registers a command whose first parameter is `options`, with those that it `takes`."""

    def register(function: Command) -> Command:
        app.command(name, cls=DashedArguments)(_expanded(function, takes))
        return function

    return register


@contextmanager
def client_of(system: System) -> Iterator[Client]:
    """A client of a system's scorer, closed at the end."""
    from stream.client.client import Client

    serving = system.settings.serving
    with Client(system.url, token=serving.tokens.read, ca_file=serving.tls.ca_file) as client:
        yield client


def _expanded(function: Command, takes: tuple[str, ...]) -> Command:
    """The function with a parameter for each option in the place of `options`, and for each field in that of another
    dataclass, as Typer reads signatures."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint) and hint is not Options}
    parameters: list[inspect.Parameter] = []
    for each in list(inspect.signature(function).parameters.values())[1:]:
        if each.name in groups:
            parameters += _parameters_of(groups[each.name], fields(groups[each.name]))
        else:
            parameters.append(each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY))
    parameters += _parameters_of(Options, [each for each in fields(Options) if each.name in takes])

    @wraps(function)
    def called(**said: Any) -> None:
        chosen = {name: said.pop(name) for name in takes}
        for name, group in groups.items():
            said[name] = group(**{each.name: said.pop(each.name) for each in fields(group)})
        function(Options(**chosen), **said)

    del called.__wrapped__  # else its signature would be that of the function again
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def _parameters_of(group: type, chosen: Iterable[Field[Any]]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in chosen
    ]
