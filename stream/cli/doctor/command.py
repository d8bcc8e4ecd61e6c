"""`sidestream doctor`: each line ok, or what to do."""

from __future__ import annotations

from dataclasses import asdict

import typer

from stream.cli.arguments.options import LOG, Options, command
from stream.terminal.output import table

app = typer.Typer()


@command(app, takes=LOG)
def doctor(options: Options) -> None:
    """Look at everything that a system needs: each line is ok, or says what to do. Changes nothing.

    Brokers, security and access, topics, partitions, retention against training, compaction, clocks, disk, versions
    and folder locks. Fails (status 1) if any of them is not well.

    Example: sidestream doctor --settings sidestream.toml
    """
    from stream.cli.doctor.checks import examine

    found = examine(options.settings())
    well = all(each.ok for each in found)
    if not options.as_json:
        table(("check", "", "what"), [(each.check, "ok" if each.ok else "FAILED", each.told) for each in found])
    failed = ", ".join(each.check for each in found if not each.ok)
    options.emit(
        {"ok": well, "checks": [asdict(each) for each in found]}, "all is well" if well else f"not well: {failed}"
    )
    if not well:
        raise typer.Exit(1)
