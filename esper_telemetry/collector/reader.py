"""One live reader: the durable frames of all producers of a run, as they come. No grpc: it is given a way to send.

Files are read in threads, one turn of one producer at a time, and nothing is read before the last
turn was sent: a slow reader costs its place and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.subscription import Cursor
from esper_telemetry.errors import RecordError
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.identity import ProducerKey
    from esper_telemetry.collector.intake import Intake
    from esper_telemetry.collector.producer import Producer

    Send = Callable[[collector_pb2.Frame], Awaitable[None]]


async def follow_run(intake: Intake, request: collector_pb2.SubscribeRequest, tenant: Tenant, send: Send) -> None:
    """Send what a SubscribeRequest asks for, until it is cancelled or, with `stored_only`, all is sent.

    Raises:
        Refused: there is no such run, too many readers, or a file is damaged.
    """
    async with intake.readers.following(request.run_id, tenant) as moved:
        reader = _Reader(intake, request, tenant, send)
        try:
            while True:
                moved.clear()
                if await reader.turn():
                    continue
                if request.stored_only:
                    return
                try:
                    await asyncio.wait_for(moved.wait(), intake.limits.heartbeat_s)
                except TimeoutError:
                    await send(collector_pb2.Frame(heartbeat=collector_pb2.Heartbeat(sent_unix_nano=time.time_ns())))
        except RecordError as error:
            raise Refused("STORAGE", f"the run cannot be read: {error}") from error
        finally:
            reader.close()


class _Reader:
    """The cursors of one reader."""

    def __init__(self, intake: Intake, request: collector_pb2.SubscribeRequest, tenant: Tenant, send: Send) -> None:
        self._intake = intake
        self._tenant = tenant
        self._request = request
        self._send = send
        self._starts = {position.producer_id: position.from_seq for position in request.positions}
        self._cursors: dict[ProducerKey, Cursor] = {}
        self._closed: set[ProducerKey] = set()
        if request.only_new:
            for producer in intake.roster.of_run(request.run_id):
                self._starts[producer.key.producer_id] = producer.ledger.durable_seq + 1

    async def turn(self) -> bool:
        """Send one turn of every producer; return whether there was anything."""
        sent = False
        for producer in self._intake.roster.of_run(self._request.run_id):
            cursor = self._cursor(producer)
            frames = await asyncio.to_thread(cursor.read)
            for frame in frames or self._close_of(producer, cursor):
                await self._intake.readers.pace(self._tenant, frame.ByteSize())
                await self._send(frame)
                sent = True
        return sent

    def close(self) -> None:
        """Let go of all files."""
        for cursor in self._cursors.values():
            cursor.close()

    def _cursor(self, producer: Producer) -> Cursor:
        cursor = self._cursors.get(producer.key)
        if cursor is None:
            from_seq = 0 if self._request.only_new else self._request.from_seq
            start = self._starts.get(producer.key.producer_id, from_seq)
            cursor = self._cursors[producer.key] = Cursor(producer.lane, frozenset(self._request.types), start)
        return cursor

    def _close_of(self, producer: Producer, cursor: Cursor) -> list[collector_pb2.Frame]:
        """Return the Close of a producer whose frames were all sent, once."""
        ended = producer.outcome != collector_pb2.CLOSE_OUTCOME_UNSPECIFIED and producer.listener is None
        if not ended:
            self._closed.discard(producer.key)
        if not ended or producer.key in self._closed or cursor.last_seq < producer.ledger.durable_seq:
            return []
        self._closed.add(producer.key)
        close = collector_pb2.Close(
            final_seq=producer.ledger.durable_seq,
            outcome=collector_pb2.CloseOutcome.Name(producer.outcome),
        )
        return [collector_pb2.Frame(producer_id=producer.key.producer_id, close=close)]
