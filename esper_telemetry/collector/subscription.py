"""Live readers of a run: the durable frames of all its producers, as they are in the collector's files. No grpc.

A cursor never reads behind what is durable, so nothing that was shown can vanish. Frames without a wanted type are left
out by the type mask of their descriptors; nothing is decompressed but headers. Files are read in threads, one turn of
one producer at a time, and nothing is read before the last turn was sent: a slow reader costs its place and nothing
else. A run with a reader stays in memory with all its producers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from esper_telemetry.collector.producers import stored_members
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import CorruptRecordError, RecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.frame import FrameDecoder, crc32
from esper_telemetry.recordfile.header import is_further, parse_header_frame
from esper_telemetry.recordfile.piece import Kind, Piece
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.schema.descriptors import SchemaPool
from esper_telemetry.schema.fingerprint import merged_header, schema_fingerprint
from esper_telemetry.v1 import collector_pb2, options_pb2, record_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator

    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.producers import Producer, Roster
    from esper_telemetry.collector.quotas import Quotas
    from esper_telemetry.recordfile.layout import Descriptor
    from esper_telemetry.storage.engine import Engine, ProducerLane
    from esper_telemetry.storage.naming import ProducerKey
    from esper_telemetry.storage.published import Published

    Send = Callable[[collector_pb2.Frame], Awaitable[None]]


# Bytes of the file that one call looks at.
_TURN_BYTES = 1 << 20
_EVERY_TYPE = (1 << 32) - 1
_STEP_BLOCK = "esper_telemetry.v1.StepBlock"
# protoc types an extension as a bare FieldDescriptor.
_EVENT: Any = options_pb2.event


class SegmentCursor:
    """A place in the files of one producer. One thread at a time uses it.

    Args:
        files: the producer's segments.
        types: full names or short names of wanted event types; empty for all.
        from_seq: first number wanted; 0 or 1 for all.

    Attributes:
        last_seq: last number that was passed, sent or not.
    """

    def __init__(self, files: ProducerLane, types: frozenset[str], from_seq: int) -> None:
        self.last_seq = 0
        self._files = files
        self._types = types
        self._from_seq = from_seq
        self._mask = _EVERY_TYPE
        self._declared = record_pb2.Header()
        self._source: FileSource | None = None
        self._path = ""
        self._at = 0
        self._decoder = FrameDecoder()

    def close(self) -> None:
        """Close the file."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def read(self) -> list[collector_pb2.Frame]:
        """Return the next frames; nothing where all that is durable has been returned.

        Raises:
            RecordError: a file is damaged or gone.
        """
        found: list[collector_pb2.Frame] = []
        while not found:
            segment = self._segment()
            if segment is None:
                break
            found = list(self._turn(segment))
        return found

    def _segment(self) -> Published | None:
        """Return the segment with something to read, opening it; None if there is none."""
        published = self._files.published
        at = next((index for index, each in enumerate(published) if str(each.path) == self._path), -1)
        if at >= 0 and (self._at < published[at].size or self._is_replaced(published[at])):
            return published[at]
        for segment in published[at + 1 :]:
            if segment.last_seq >= self._from_seq or segment is published[-1]:
                self.close()
                self._source = FileSource(segment.path)
                self._path, self._at = str(segment.path), 0
                return segment
        return None

    def _is_replaced(self, segment: Published) -> bool:
        """Tell whether there is more to read in the file that a segment was in before it was compacted.

        That file was sealed, and stays open here: its frames end elsewhere than those of the new one.
        """
        source = self._source
        return source is not None and source.identity != segment.identity and self._at < source.size

    def _turn(self, segment: Published) -> Iterator[collector_pb2.Frame]:
        source = self._source
        assert source is not None  # noqa: S101 - `_segment` opened it
        turn_end = self._at + _TURN_BYTES
        end = segment.size if source.identity == segment.identity else source.size
        for piece in walk(source, self._at, end=end):
            if piece.kind in {Kind.DAMAGE, Kind.TAIL}:
                raise CorruptRecordError("a durable piece is not whole; run recover", path=self._path, offset=self._at)
            self._at = piece.end
            yield from self._frames(source, piece)
            if self._at >= turn_end:
                return

    def _frames(self, source: FileSource, piece: Piece) -> Iterator[collector_pb2.Frame]:
        producer_id, desc = self._files.key.producer_id, piece.descriptor
        if piece.kind is Kind.HEADER and desc is not None:
            frame = source.read_at(piece.offset, desc.compressed_size)
            header = parse_header_frame(self._decoder.decode(frame, desc.raw_size))
            header = self._declared = self._declared_with(header)
            self._mask = _mask(header, self._types)
            schema = collector_pb2.Schema(fingerprint=schema_fingerprint(header), header=header)
            yield collector_pb2.Frame(producer_id=producer_id, schema=schema)
        elif piece.kind is Kind.SKIP and piece.skip is not None:
            self.last_seq = piece.skip.last_seq
            if piece.skip.last_seq >= self._from_seq:
                yield collector_pb2.Frame(producer_id=producer_id, skip=_skip(piece.skip))
        elif piece.kind is Kind.DATA and desc is not None:
            self.last_seq = desc.last_seq
            if desc.last_seq >= self._from_seq and desc.type_mask & self._mask:
                payload = source.read_at(piece.offset, piece.end - piece.offset)
                yield collector_pb2.Frame(producer_id=producer_id, batch=_batch(desc, payload))

    def _declared_with(self, header: record_pb2.Header) -> record_pb2.Header:
        """Return what the headers of a segment declare together, this one being the last so far."""
        if not is_further(header):
            return header
        first = self._declared
        whole = merged_header(first, [first.file_descriptor_set, header.file_descriptor_set])
        whole.types.extend(header.types)
        return whole


def _skip(skip: layout.Skip) -> collector_pb2.Skip:
    known = skip.reason in collector_pb2.SkipReason.values()
    reason = collector_pb2.SkipReason.Name(skip.reason) if known else "SKIP_REASON_UNSPECIFIED"
    return collector_pb2.Skip(first_seq=skip.first_seq, last_seq=skip.last_seq, reason=reason)


def _batch(desc: Descriptor, payload: bytes) -> collector_pb2.Batch:
    return collector_pb2.Batch(
        first_seq=desc.first_seq,
        last_seq=desc.last_seq,
        count=desc.records,
        raw_len=desc.raw_size,
        crc32=crc32(payload),
        codec=collector_pb2.CODEC_ZSTD,
        payload=payload,
    )


def _mask(header: record_pb2.Header, wanted: frozenset[str]) -> int:
    """Return the type mask of the wanted types among those a header declares.

    A block of steps holds events of other types, so it is always wanted.
    """
    if not wanted:
        return _EVERY_TYPE
    mask = 0
    pool = SchemaPool()
    pool.add(header.file_descriptor_set)
    for entry in header.types:
        options = pool.message_class(entry.full_name).DESCRIPTOR.GetOptions()
        if {entry.full_name, options.Extensions[_EVENT].name} & wanted or entry.full_name == _STEP_BLOCK:
            mask |= layout.type_bit(entry.type_id)
    return mask


class Readership:
    """The readers of all runs.

    Args:
        engine: knows the producers that are not in memory.
        roster: those in memory.
        quotas: counts readers by tenant.

    Attributes:
        roster: as given.
    """

    def __init__(self, engine: Engine, roster: Roster, quotas: Quotas) -> None:
        self._engine = engine
        self.roster = roster
        self._quotas = quotas
        self._watchers: dict[str, set[asyncio.Event]] = {}

    @property
    def runs(self) -> Collection[str]:
        """The runs that have a reader."""
        return self._watchers.keys()

    def moved(self, run_id: str) -> None:
        """Tell the readers of a run that something of it moved."""
        for watcher in self._watchers.get(run_id, ()):
            watcher.set()

    async def pace(self, tenant: Tenant, size: int) -> None:
        """Wait until a tenant may be sent more, and count what it is sent then, bytes."""
        now = asyncio.get_running_loop().time
        await self._quotas.wait_turn(tenant, now, "out")
        self._quotas.rate(tenant, "out").take(size, now())

    @contextlib.asynccontextmanager
    async def following(self, run_id: str, tenant: Tenant) -> AsyncIterator[asyncio.Event]:
        """Hold a run in memory, and give an event that is set whenever something of it moved.

        Raises:
            Refused: as many readers are there as may be (STREAMS), there is no such run, or the disk refused.
        """
        self._quotas.check_reader(tenant)
        self._quotas.readers[tenant.name] += 1
        event = asyncio.Event()
        watchers = self._watchers.setdefault(run_id, set())
        watchers.add(event)
        try:
            for key in await stored_members(self._engine, run_id):
                producer = await self.roster.enter(key)
                producer.left_at = producer.left_at or asyncio.get_running_loop().time()
            if not self.roster.of_run(run_id):
                raise Refused("NO_RUN", f"run {run_id!r} has nothing stored; ListRuns names those that have")
            yield event
        finally:
            self._quotas.readers[tenant.name] -= 1
            watchers.discard(event)
            if not watchers:
                self._watchers.pop(run_id, None)


async def follow_run(
    readers: Readership, request: collector_pb2.SubscribeRequest, tenant: Tenant, send: Send, heartbeat_s: float
) -> None:
    """Send what a SubscribeRequest asks for, until it is cancelled or, with `stored_only`, all is sent.

    Args:
        readers: those of all runs.
        request: what is wanted.
        tenant: who reads.
        send: sends a frame; it waits while the reader's window is full.
        heartbeat_s: silence after which a heartbeat is sent, seconds.

    Raises:
        Refused: there is no such run, too many readers, or a file is damaged.
    """
    async with readers.following(request.run_id, tenant) as moved:
        reader = _Reader(readers, request, tenant, send)
        try:
            while True:
                moved.clear()
                if await reader.turn():
                    continue
                if request.stored_only:
                    return
                try:
                    await asyncio.wait_for(moved.wait(), heartbeat_s)
                except TimeoutError:
                    await send(collector_pb2.Frame(heartbeat=collector_pb2.Heartbeat(sent_unix_nano=time.time_ns())))
        except RecordError as error:
            raise Refused("STORAGE", f"the run cannot be read: {error}") from error
        finally:
            reader.close()


class _Reader:
    """The cursors of one reader."""

    def __init__(
        self, readers: Readership, request: collector_pb2.SubscribeRequest, tenant: Tenant, send: Send
    ) -> None:
        self._readers = readers
        self._tenant = tenant
        self._request = request
        self._send = send
        self._starts = {position.producer_id: position.from_seq for position in request.positions}
        self._cursors: dict[ProducerKey, SegmentCursor] = {}
        self._closed: set[ProducerKey] = set()
        if request.only_new:
            for producer in readers.roster.of_run(request.run_id):
                self._starts[producer.key.producer_id] = producer.numbers.durable_seq + 1

    async def turn(self) -> bool:
        """Send one turn of every producer; return whether there was anything."""
        sent = False
        for producer in self._readers.roster.of_run(self._request.run_id):
            cursor = self._cursor(producer)
            frames = await asyncio.to_thread(cursor.read)
            for frame in frames or self._close_of(producer, cursor):
                await self._readers.pace(self._tenant, frame.ByteSize())
                await self._send(frame)
                sent = True
        return sent

    def close(self) -> None:
        """Close all files."""
        for cursor in self._cursors.values():
            cursor.close()

    def _cursor(self, producer: Producer) -> SegmentCursor:
        cursor = self._cursors.get(producer.key)
        if cursor is None:
            from_seq = 0 if self._request.only_new else self._request.from_seq
            start = self._starts.get(producer.key.producer_id, from_seq)
            cursor = self._cursors[producer.key] = SegmentCursor(producer.lane, frozenset(self._request.types), start)
        return cursor

    def _close_of(self, producer: Producer, cursor: SegmentCursor) -> list[collector_pb2.Frame]:
        """Return the Close of a producer whose frames were all sent, once."""
        ended = producer.outcome != collector_pb2.CLOSE_OUTCOME_UNSPECIFIED and producer.listener is None
        if not ended:
            self._closed.discard(producer.key)
        if not ended or producer.key in self._closed or cursor.last_seq < producer.numbers.durable_seq:
            return []
        self._closed.add(producer.key)
        close = collector_pb2.Close(
            final_seq=producer.numbers.durable_seq,
            outcome=collector_pb2.CloseOutcome.Name(producer.outcome),
        )
        return [collector_pb2.Frame(producer_id=producer.key.producer_id, close=close)]
