"""The embedded broker itself: the listening socket, the requests' handlers, and the housekeeping.

One event loop, one thread. A connection's requests are answered one after the other, as Kafka does; a long-poll fetch
waits on the data, not on a timer. Between two requests of one connection every other connection has its turn.

Durability: a batch has gone to the kernel (write(2)) before it is acknowledged, so kill -9 of the broker loses nothing
that was acknowledged. Against power loss only `fsync_every_s` helps: 0 forces every batch to the disk before its
acknowledgement, a number does so that often, None (as Kafka's default) leaves it to the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from stream.broker.calls import admin as admin_calls
from stream.broker.calls import data as data_calls
from stream.broker.calls import groups as group_calls
from stream.broker.node import HOST, Node, Options, now_ms
from stream.broker.protocol import PRODUCE, Call, UnknownCallError, decode, encode
from stream.broker.storage import compaction

log = logging.getLogger(__name__)

_SHORTEST_FRAME, _LONGEST_FRAME = 10, 100 * 2**20
_LONGEST_WITHOUT_RECORDS = 4 * 2**20  # decoded it takes some thirty times as much
_READ_AHEAD = 2 * 2**20

Handler = Callable[[Node, Call], Awaitable[Mapping[str, Any] | None]]

HANDLERS: dict[str, Handler] = {
    "Produce": data_calls.produce,
    "Fetch": data_calls.fetch,
    "ListOffsets": data_calls.list_offsets,
    "Metadata": data_calls.metadata,
    "ApiVersions": data_calls.api_versions,
    "InitProducerId": data_calls.init_producer_id,
    "FindCoordinator": group_calls.find_coordinator,
    "JoinGroup": group_calls.join_group,
    "SyncGroup": group_calls.sync_group,
    "Heartbeat": group_calls.heartbeat,
    "LeaveGroup": group_calls.leave_group,
    "OffsetCommit": group_calls.offset_commit,
    "OffsetFetch": group_calls.offset_fetch,
    "OffsetDelete": group_calls.offset_delete,
    "ListGroups": group_calls.list_groups,
    "DescribeGroups": group_calls.describe_groups,
    "DeleteGroups": group_calls.delete_groups,
    "CreateTopics": admin_calls.create_topics,
    "DeleteTopics": admin_calls.delete_topics,
    "CreatePartitions": admin_calls.create_partitions,
    "DeleteRecords": admin_calls.delete_records,
    "DescribeConfigs": admin_calls.describe_configs,
    "AlterConfigs": admin_calls.alter_configs,
    "IncrementalAlterConfigs": admin_calls.incremental_alter_configs,
    "DescribeCluster": admin_calls.describe_cluster,
}


class Broker:
    """A single-node Kafka-protocol broker on 127.0.0.1, for one machine.

    `options` are those of `Options`: port, partitions, auto_create_topics, message_max_bytes, fsync_every_s,
    maintain_every_s, topic_defaults.

    >>> broker = Broker("data", port=9092)        # doctest: +SKIP
    >>> await broker.start(); broker.address      # doctest: +SKIP
    '127.0.0.1:9092'
    """

    def __init__(self, data_dir: str | Path, **options: Any) -> None:
        self._options = Options(data_dir=Path(data_dir), **options)
        self._node: Node | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        """`host:port`, as clients take it for `bootstrap_servers`; known once started."""
        if self._node is None:
            raise RuntimeError("the broker has no address yet: await start() first")
        return f"{HOST}:{self._node.port}"

    async def start(self) -> None:
        """Recovers the data folder and begins to listen. Raises DataDirInUseError, or OSError if the port is taken."""
        node = Node(self._options)
        try:
            self._server = await asyncio.start_server(self._connected, HOST, self._options.port, limit=_READ_AHEAD)
        except OSError:
            node.close()
            raise
        node.port = self._server.sockets[0].getsockname()[1]
        self._node = node
        self._spawn(node.groups.watch())
        self._spawn(self._maintain(node))
        if node.options.fsync_every_s:
            self._spawn(self._flush(node, node.options.fsync_every_s))

    async def stop(self) -> None:
        """Ends the connections and closes the files; the next start need not scan them."""
        if self._server is None or self._node is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._node.close()
        self._server = self._node = None

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._spawn(self._converse(reader, writer))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        try:
            while True:
                await self._answer(reader, writer)
                await asyncio.sleep(0)  # a client that never pauses must not hold up the others
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        except UnknownCallError as unknown:
            log.warning("connection of %s closed: %s", peer, unknown)
        except OSError as error:  # a disk that cannot be written; the client connects again and asks again
            self._not_written(error)
        except Exception:
            log.exception("connection of %s closed by a fault of the broker", peer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _not_written(self, error: OSError) -> None:
        if self._node is not None:
            self._node.refused_writes.refused(error)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(4), "big", signed=True)
        if not _SHORTEST_FRAME <= size <= _LONGEST_FRAME:
            raise UnknownCallError(f"a frame of {size} bytes")
        kind = await reader.readexactly(2)
        if size > _LONGEST_WITHOUT_RECORDS and int.from_bytes(kind, "big") != PRODUCE:
            raise UnknownCallError(f"a frame of {size} bytes that holds no records")
        call = decode(kind + await reader.readexactly(size - 2))
        assert self._node is not None
        answer = await HANDLERS[call.api.name](self._node, call)
        if answer is not None:
            writer.write(encode(call, answer))
            await writer.drain()

    async def _maintain(self, node: Node) -> None:
        """Retention and compaction; a fault in one log is reported and does not keep the others waiting."""
        while True:
            await asyncio.sleep(node.options.maintain_every_s)
            for each in [log for topic in node.topics.all() for log in topic.logs]:
                try:
                    for segment in await asyncio.to_thread(each.seal_closed):
                        segment.close()
                    each.retain(now_ms())
                    if compaction.due(each, now_ms()):
                        planned = await asyncio.to_thread(compaction.plan, each, now_ms())
                        compaction.swap(each, planned)
                except OSError as error:
                    shutil.rmtree(each.compacting, ignore_errors=True)
                    node.refused_writes.refused(error)
                except Exception:
                    log.exception("housekeeping of %s failed", each.folder)
                await asyncio.sleep(0)

    async def _flush(self, node: Node, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            for flush in [node.offsets.flush, *(log.flush for topic in node.topics.all() for log in topic.logs)]:
                try:
                    await asyncio.to_thread(flush)
                except OSError as error:  # also a file that was deleted or replaced meanwhile
                    log.warning("not forced to the disk: %s", error)
