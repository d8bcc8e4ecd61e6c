"""`sidestream up`, `demo`, `worker` and `trainer`: what runs for long."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from store.files.folder_lock import FolderLock
from store.reporting.log_lines import begin, is_json
from store.settings import RoleName, Settings
from stream.cli.arguments.options import LOG, Options, command
from stream.terminal.output import emit

app = typer.Typer()

StartOver = Annotated[
    Literal["beginning", "end"] | None,
    typer.Option(help="Once, after a log was replaced: go on from its beginning (it was created anew) or its end."),
]
RoleOption = Annotated[
    RoleName | None,
    typer.Option("--role", help="What it does: absorb events (ingest), answer requests (serve), or both (all)."),
]
Port = Annotated[int | None, typer.Option("--web-port", min=0, max=65535, help="HTTP port; 0 takes a free one.")]


@command(app, takes=LOG)
def up(
    options: Options,
    web_port: Port = None,
    broker_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the embedded broker; 0 takes a free one.")
    ] = None,
    start_over: StartOver = None,
) -> None:
    """Run everything on this machine: broker, worker with scorer, trainer, web page.

    Prints `ready` with its addresses when it can serve, and writes them to addresses.json in the data folder. Stopped
    (or killed) and started again on the same folder, it goes on where it was. With --bootstrap-servers that Kafka is
    used instead of the embedded broker.

    Example: sidestream up --data-dir ./data

    Example: sidestream up --data-dir ./data --bootstrap-servers kafka-1:9092,kafka-2:9092
    """
    from stream.up.supervisor import run_up

    settings = _starting_over(options.settings(), start_over)
    begin(settings.logging, "up")
    run_up(
        settings,
        web_port=web_port,
        broker_port=broker_port,
        embedded=options.bootstrap_servers is None,
        as_json=options.as_json,
    )


@command(app, takes=("data_dir", "as_json"))
def demo(
    options: Options,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A recorded stream; without it, a simulated population.")
    ] = None,
    leave: Annotated[
        bool, typer.Option("--exit", help="End the system afterwards; status 0 only if everything was seen.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option(min=0.0, help="Times the stream's own pace; without it, as fast as it goes.")
    ] = None,
) -> None:
    """Show the whole way on a running system, with measured times.

    An item published and recommended to someone before any engagement; a click and the changed order after it; a
    training run triggered, gated and swapped while requests keep being answered.

    Example: sidestream demo --exit

    Example: sidestream demo recordings/my-stream --exit --json
    """
    from stream.demo.demo import run_demo

    data_dir, as_json = options.data_dir, options.as_json
    raise typer.Exit(run_demo(folder, leave=leave, speed=speed, data_dir=data_dir, as_json=as_json))


@command(app, takes=LOG)
def worker(options: Options, web_port: Port = None, start_over: StartOver = None, role: RoleOption = None) -> None:
    """Run one worker: the production unit. Start more to scale, up to the partition count.

    Where there is more to absorb than to answer, or the other way, give workers roles: those that absorb (ingest) own
    the partitions and answer nothing, those that answer (serve) own none, and there may be as many as you like. Prints
    where it answers; with --json, one document with `url` and `pid`.

    Example: sidestream worker --bootstrap-servers kafka:9092 --data-dir /var/lib/sidestream

    Example: sidestream worker --role serve --bootstrap-servers kafka:9092 --data-dir /var/lib/sidestream
    """
    import msgspec

    use_one_thread()
    settings = _starting_over(options.settings(), start_over)
    begin(settings.logging, "worker")
    if role is not None:
        settings = msgspec.structs.replace(settings, role=role)
    if web_port is not None:
        settings = msgspec.structs.replace(settings, serving=msgspec.structs.replace(settings.serving, port=web_port))
    with uncollected():
        from stream.worker import Worker
        from stream.worker_process import run_worker

    def started(worker: Worker) -> None:
        document = {"url": worker.url, "pid": os.getpid()}
        emit(document, options.as_json or is_json(), f"the worker answers at {worker.url}")

    with FolderLock(Path(settings.data_dir), "worker"):
        raise typer.Exit(run_worker(settings, started))


@command(app, takes=LOG)
def trainer(options: Options) -> None:
    """Run the continued pre-training service. It uses a GPU if there is one. Of several, one is at work, and the others
    stand by. Several processes, or GPUs, of one machine learn together when torchrun starts them.

    Example: sidestream trainer --bootstrap-servers kafka:9092 --settings production.toml

    Example: torchrun --nproc-per-node 2 --max-restarts 3 --no-python sidestream trainer --settings production.toml
    """
    use_one_thread()  # torch has a setting of its own: training.threads
    with uncollected():
        from store.topics import trainer_group
        from stream.kafka.access import TRAINER, check_access
        from stream.kafka.connections import BrokerRefusedError, BrokerUnavailableError
        from trainer.runs.service import run_trainer
        from trainer.runs.training_run import learned_beside_another, send_others_home

    settings = options.settings()
    begin(settings.logging, "trainer")
    if learned_beside_another():
        return
    try:
        check_access(settings, TRAINER, group=trainer_group(settings.kafka.group))
    except BrokerRefusedError:
        raise
    except BrokerUnavailableError:
        pass  # the trainer waits for a broker by itself
    with FolderLock(Path(settings.data_dir), "trainer"):
        status = run_trainer(settings)
    send_others_home()
    raise typer.Exit(status)


def _starting_over(settings: Settings, chosen: Literal["beginning", "end"] | None) -> Settings:
    import msgspec

    if chosen is None:
        return settings
    return msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, start_over=chosen))


@contextmanager
def uncollected() -> Iterator[None]:
    """Around imports: what they make stays. To look for garbage in it takes a fifth of their time, and later a part of
    each look that the process takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def use_one_thread() -> None:
    """Before numpy is imported: products here are small, and on busy cores threads would only wait for each other."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
