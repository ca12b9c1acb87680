"""The engine of a collector that is a gateway: frames go into a message log, and consumers store them.

A gateway keeps only what is on its way. Durable is what a consumer's watermark covers, never what the log acked. What
no watermark covers in time is published again, as a new message: a log that lost what it had acked would take a message
with a known id for a duplicate. Order and duplicates are the consumer's task.

Which stream writes is decided in the log, because all gateways share it: a stream begins with an Open, and a consumer
takes entries of the stream with the highest epoch only, of equal ones the first. A Welcome waits until the consumer has
reported that, so nothing of an older stream can be stored behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.daemon.supervisor import Supervisor
from esper_telemetry.errors import RecordError, SinkError
from esper_telemetry.jetstream.connection import JetStream
from esper_telemetry.jetstream.entries import (
    SessionId,
    bucket_key,
    entry_for,
    frame_entry,
    packed_schema,
    packed_skip,
    partition_of,
)
from esper_telemetry.jetstream.messages import MESSAGE_BYTES, Packer
from esper_telemetry.jetstream.producer_state import NO_STREAM, ProducerState
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.storage.engine import (
    Cycle,
    Health,
    Item,
    ProducerLane,
    ProducerProgress,
    PutFrame,
    PutSchema,
    PutSkip,
    RestoredProducer,
    SchemaTooLongError,
    Seal,
    Watermark,
    weight,
)
from esper_telemetry.storage.sequence import SequenceNumbers
from esper_telemetry.v1 import collector_pb2, log_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esper_telemetry.daemon.failures import TaskFailures
    from esper_telemetry.jetstream.deployment import LogSettings
    from esper_telemetry.storage.archive import Expired, Weighed
    from esper_telemetry.storage.naming import ProducerKey
    from esper_telemetry.storage.published import Published

LOG = logging.getLogger("esper_telemetry.collector")

# What is not durable after this time is published again; each time without any progress doubles it.
STALL_S = 1.0
_LONGEST_STALL_S = 8.0
_TICK_S = 0.25
# What comes within this time travels in one message: at first little, so that a lone entry is soon there, then more.
_GATHER_S = 0.004
_GATHER_BUSY_S = 0.025
# An election of the stream's leader takes seconds; streams are not sent away for it.
_UNREACHABLE_S = 10.0
_REFUSED_S = 3.0


class _Sent(NamedTuple):
    """An entry that no watermark covers yet."""

    last_seq: int
    data: bytes
    payload_bytes: int
    fingerprint: bytes


class GatewayLane:
    """One producer at this gateway.

    Args:
        key: whose it is.
        subject: of its partition.

    Attributes:
        key: as given.
        subject: as given.
        session: the stream at this gateway; NO_STREAM before the first.
        accepted: the stream that its consumer accepted as the one that writes.
        numbers: its sequence numbers; `durable_seq` of them is written here, from the consumer's watermark.
        waiting: entries with numbers that are not durable, in order.
        schemas: entries of the schemas that those need, and of the present one, by fingerprint.
        stall_s: time without progress after which all of it is published again.
        moved_at: time of the last progress, or of the last publishing without any.
        published: nothing: the files are at a consumer.
    """

    def __init__(self, key: ProducerKey, subject: str) -> None:
        self.key = key
        self.subject = subject
        self.session = self.accepted = NO_STREAM
        self.numbers = SequenceNumbers()
        self.waiting: deque[_Sent] = deque()
        self.schemas: dict[bytes, PutSchema] = {}
        self.fingerprint = b""
        self.stall_s = STALL_S
        self.moved_at = 0.0
        self.published: tuple[Published, ...] = ()

    @property
    def failed(self) -> str | None:
        """Why it does not write."""
        return None if self.accepted == self.session else "no consumer answers: is `esper-telemetry consume` running?"

    @property
    def is_open(self) -> bool:
        """Whether something is on its way."""
        return bool(self.waiting)

    def writes(self, epoch: int) -> bool:
        """Return whether the consumer takes the stream with `epoch`."""
        return self.accepted == self.session and self.session.epoch == epoch

    def drop(self) -> int:
        """Forget what is on its way; return its payload bytes."""
        dropped = sum(sent.payload_bytes for sent in self.waiting)
        self.waiting.clear()
        return dropped

    def settle(self, durable_seq: int) -> int:
        """Apply a watermark; return the payload bytes that it covers."""
        covered = 0
        self.numbers.settle(durable_seq)
        while self.waiting and self.waiting[0].last_seq <= durable_seq:
            covered += self.waiting.popleft().payload_bytes
        if len(self.schemas) > 1:
            needed = {sent.fingerprint for sent in self.waiting} | {self.fingerprint}
            self.schemas = {known: put for known, put in self.schemas.items() if known in needed}
        return covered


class GatewayEngine:
    """Publishes what comes, and reports what consumers made durable.

    Args:
        settings: where the log is.
        failures: where errors of its tasks are recorded.

    Attributes:
        durability, elsewhere, notes: as in Engine.
        resent: entries that were published again.
    """

    durability = collector_pb2.DURABILITY_CONSUMER
    elsewhere = (
        "the folders of the consumers (`esper-telemetry consume --dir DIR`) hold the runs;"
        " read them there, e.g. with `esper-telemetry tail DIR/RUN_ID`"
    )

    def __init__(self, settings: LogSettings, failures: TaskFailures) -> None:
        self.notes: list[str] = []
        self.resent = 0
        self._failures = failures
        self._log = JetStream(settings, "esper-telemetry gateway", failures)
        self._names = settings.names
        self._lanes: dict[ProducerKey, GatewayLane] = {}
        self._encoder = FrameEncoder(3)
        self._packer = Packer()
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._broken = ""
        self._duties: Supervisor
        self._report: Callable[[Cycle], None]
        self._answered = 0.0
        self._free = 1.0

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, report: Callable[[Cycle], None]) -> None:
        """Connect."""
        self._report = report
        await self._log.open()
        try:
            await self._log.subscribe(self._names.durable("*"), self._heard)
        except BaseException:
            await self._log.close()
            raise
        self._answered = asyncio.get_running_loop().time()
        self._duties = Supervisor(self._failures, self._fail)
        self._duties.keep("publisher", self._pump())
        self._duties.every(_TICK_S, "stalls", self._watch)

    @property
    def broken(self) -> str:
        """Why it publishes nothing any more."""
        return self._broken or self._log.closed

    def _fail(self, why: str) -> None:
        self._broken = why

    async def stop(self, seal_s: float) -> None:
        """Disconnect; streams have ended, and what is not durable their clients still have."""
        del seal_s
        await self._duties.end()
        await self._log.close()

    async def examine(self, min_free: float) -> Health:
        """Ask the stream how full it is."""
        now = asyncio.get_running_loop().time()
        try:
            fill = await self._log.fill()
        except SinkError as error:
            return Health(self._free, str(error) if now - self._answered > _UNREACHABLE_S else "")
        self._answered = now
        free = self._free = 1.0 - fill.bytes / fill.max_bytes if fill.max_bytes else 1.0
        if free < min_free:
            return Health(
                free, f"the stream is full: {free:.1%} of it is free, {min_free:.1%} must be: are consumers up?"
            )
        since, last = self._log.refused_since, self._log.refused_at
        if since is not None and last - since > _REFUSED_S and now - last < _UNREACHABLE_S:
            return Health(free, f"the stream takes nothing: {self._log.refused}")
        return Health(free, "")

    # --- what the intake asks for -------------------------------------------------------------------------------------

    async def restore(self, key: ProducerKey, *, weigh: bool = False) -> RestoredProducer:
        """Return the way of a producer through this gateway; its consumer reports what is durable after the claim."""
        del weigh
        lane = GatewayLane(key, self._names.partition(partition_of(key, self._log.partitions)))
        self._lanes[key] = lane
        return RestoredProducer(lane)

    async def runs(self) -> list[str]:
        """Return nothing: the files are at the consumers."""
        return []

    async def members(self, run_id: str) -> list[ProducerKey]:
        """Return nothing, as `runs`."""
        del run_id
        return []

    async def weigh(self) -> list[Weighed]:
        """Return nothing, as `runs`."""
        return []

    async def expire(self, before: Callable[[str], float]) -> list[Expired]:
        """Delete nothing, as `runs`."""
        del before
        return []

    async def delete(self, run_id: str, why: str) -> int:
        """Delete nothing, as `runs`."""
        del run_id, why
        return 0

    def forget(self, lane: ProducerLane) -> None:
        """Forget a producer whose stream is gone; the next one begins with the state in the bucket."""
        if self._lanes.get(lane.key) is lane:
            dropped = self._lanes.pop(lane.key).drop()
            self._report(_cycle(ProducerProgress(lane.key, 0, dropped, dropped)))

    def claim(self, lane: ProducerLane, epoch: int) -> None:
        """Publish that a stream begins."""
        assert isinstance(lane, GatewayLane)  # noqa: S101 - `lane` made it
        dropped = lane.drop()
        lane.session = SessionId(epoch, secrets.randbits(64))
        lane.accepted = NO_STREAM
        self._start_clock(lane)
        self._send(lane, self._opening(lane), urgent=True)
        if dropped:
            self._report(_cycle(ProducerProgress(lane.key, lane.numbers.durable_seq, dropped, dropped)))

    def put(self, lane: ProducerLane, item: Item) -> None:
        """Publish `item`."""
        assert isinstance(lane, GatewayLane)  # noqa: S101 - `lane` made it
        entry = entry_for(lane.key, lane.session)
        if isinstance(item, PutSchema):
            lane.fingerprint = item.fingerprint
            lane.schemas[item.fingerprint] = item
            entry.schema.CopyFrom(packed_schema(item, self._encoder))
            self._send(lane, self._fitting(entry.SerializeToString()))
            self._report(
                _cycle(ProducerProgress(lane.key, lane.numbers.durable_seq, 0, weight(item)))
            )  # it waits in no queue
        elif isinstance(item, PutFrame):
            data = frame_entry(lane.key, lane.session, item, lane.fingerprint)
            self._keep(lane, _Sent(item.desc.last_seq, data, len(item.payload), lane.fingerprint))
        elif isinstance(item, PutSkip):
            entry.skip.CopyFrom(packed_skip(item))
            self._keep(lane, _Sent(item.skip.last_seq, entry.SerializeToString(), weight(item), b""))
        elif isinstance(item, Seal):
            last = lane.waiting[-1].last_seq if lane.waiting else lane.numbers.durable_seq
            entry.seal.CopyFrom(log_pb2.LogSeal(final_seq=last))
            self._send(lane, entry.SerializeToString())

    def _fitting(self, schema: bytes) -> bytes:
        """Refuse a schema that does not compress into a message; every frame fits, as `open` made sure."""
        longest = self._log.max_payload
        if len(schema) > longest:
            text = (
                f"the schema takes {len(schema):,} bytes compressed; the log takes {longest:,}: raise max_payload there"
            )
            raise SchemaTooLongError(text)
        return schema

    def inspect(self, lanes: Iterable[ProducerLane]) -> None:
        """Do nothing: the files are at the consumers."""

    async def lookup(self, key: ProducerKey) -> Watermark:
        """Return what the bucket has of a producer."""
        state = await self._state(key)
        return Watermark(state.durable_seq, state.session.epoch)

    # --- publish ------------------------------------------------------------------------------------------------------

    def _keep(self, lane: GatewayLane, sent: _Sent) -> None:
        if not lane.waiting:
            self._start_clock(lane)
        lane.waiting.append(sent)
        self._send(lane, sent.data)

    def _send(self, lane: GatewayLane, data: bytes, *, urgent: bool = False) -> None:
        self._packer.add(lane.subject, data)
        self._wake.set()
        if urgent or self._packer.fullest >= MESSAGE_BYTES:
            self._full.set()

    async def _pump(self) -> None:
        """Publish in order; what cannot even be sent is not durable in time, and is published again."""
        loop, published_at = asyncio.get_running_loop(), 0.0
        while True:
            await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(max(published_at + _GATHER_BUSY_S, loop.time() + _GATHER_S)):
                    await self._full.wait()
            published_at = loop.time()
            self._wake.clear()
            self._full.clear()
            try:
                for subject, message in self._packer.take():
                    await self._log.publish(subject, message)
            except SinkError:
                self._packer.clear()

    def _opening(self, lane: GatewayLane) -> bytes:
        entry = entry_for(lane.key, lane.session)
        entry.open.SetInParent()
        return entry.SerializeToString()

    # --- what consumers report ----------------------------------------------------------------------------------------

    async def _heard(self, message: object) -> None:
        data: bytes = message.data  # type: ignore[attr-defined]
        try:
            state = ProducerState.from_bytes(data)
        except RecordError:
            return
        lane = self._lanes.get(state.key)
        if lane is not None:
            self._learn(lane, state)

    def _learn(self, lane: GatewayLane, state: ProducerState) -> None:
        """Apply the state of a producer that a consumer published."""
        if state.session == lane.session:
            first, lane.accepted = lane.accepted != lane.session, state.session
            moved = state.durable_seq > lane.numbers.durable_seq
            covered = lane.settle(state.durable_seq)
            if moved or first:
                self._start_clock(lane)
                self._report(_cycle(ProducerProgress(lane.key, state.durable_seq, covered, covered, rewound=first)))
        elif state.session.epoch >= lane.session.epoch and lane.session != NO_STREAM:
            dropped, lane.accepted = lane.drop(), NO_STREAM
            lane.numbers.settle(state.durable_seq)
            epoch, lane.session = state.session.epoch, NO_STREAM
            self._report(_cycle(ProducerProgress(lane.key, state.durable_seq, dropped, dropped, fenced_by=epoch)))

    async def _state(self, key: ProducerKey) -> ProducerState:
        try:
            entry = await self._log.get(bucket_key("state", key))
            return ProducerState.from_bytes(entry.value) if entry else ProducerState(key=key)
        except (SinkError, RecordError) as error:
            raise SinkError(f"the watermark cannot be read: {error}") from error

    # --- stalls -------------------------------------------------------------------------------------------------------

    def _start_clock(self, lane: GatewayLane) -> None:
        lane.moved_at, lane.stall_s = asyncio.get_running_loop().time(), STALL_S

    async def _watch(self) -> None:
        """Publish again what stalls; but first ask the bucket: the message with a watermark may be lost."""
        loop = asyncio.get_running_loop()
        for lane in list(self._lanes.values()):
            owes = lane.waiting or lane.accepted != lane.session
            if owes and loop.time() - lane.moved_at > lane.stall_s:
                await self._revive(lane)

    async def _revive(self, lane: GatewayLane) -> None:
        stalled_since = lane.moved_at
        try:
            state = await self._state(lane.key)
        except SinkError:
            return  # a log that does not answer takes nothing either
        if self._lanes.get(lane.key) is not lane:
            return  # its stream is gone, and another one may have come
        self._learn(lane, state)
        if lane.moved_at != stalled_since or lane.session == NO_STREAM:
            return
        lane.moved_at, lane.stall_s = asyncio.get_running_loop().time(), min(2 * lane.stall_s, _LONGEST_STALL_S)
        again = [self._opening(lane)]
        for put in lane.schemas.values():
            entry = entry_for(lane.key, lane.session)
            entry.schema.CopyFrom(packed_schema(put, self._encoder))
            again.append(entry.SerializeToString())
        again += [sent.data for sent in lane.waiting]
        self.resent += len(again)
        for data in again:
            self._send(lane, data)


def _cycle(progress: ProducerProgress) -> Cycle:
    return Cycle([progress], [], [])
