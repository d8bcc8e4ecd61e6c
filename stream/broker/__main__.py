"""`python -m stream.broker`: the embedded broker as a process of its own. Prints `ready HOST:PORT`; ends on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from store.reporting.log_lines import begin, is_json
from store.settings import Logging
from stream.broker import Broker, DataDirInUseError

log = logging.getLogger("stream.broker")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stream.broker", description="single-node Kafka-protocol broker")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder that holds everything")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--partitions", type=int, default=4, help="of topics that are created without a number")
    parser.add_argument("--auto-create-topics", action="store_true", help="make topics that clients ask for")
    parser.add_argument("--message-max-bytes", type=int, default=16 * 2**20, help="largest batch")
    parser.add_argument("--maintain-every-s", type=float, default=10.0, help="retention and compaction")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="of its log, on standard error")
    parser.add_argument("--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO")
    parser.add_argument("--log-levels", type=json.loads, default={}, help="a JSON object: logger → level")
    parser.add_argument(
        "--fsync-every-s", type=float, help="force data to the disk that often; 0: before every acknowledgement"
    )
    return parser.parse_args()


async def _run(options: dict[str, object]) -> None:
    broker = Broker(**options)  # type: ignore[arg-type]
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await broker.start()
    if is_json():
        log.info("ready %s", broker.address)
    else:
        print(f"ready {broker.address}", flush=True)
    await ended.wait()
    await broker.stop()


def main() -> int:
    options = vars(_arguments())
    told = {name: options.pop(f"log_{name}") for name in ("format", "level", "levels")}
    begin(Logging(**told), "broker")
    try:
        asyncio.run(_run(options))
    except (DataDirInUseError, OSError) as error:
        if is_json():
            log.critical("the broker cannot start: %s", error)
        else:
            print(f"the broker cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
