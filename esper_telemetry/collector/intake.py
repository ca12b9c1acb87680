"""All producers of a collector: who may write, what is on its way to be durable, what came of it.

Lives in one event loop; only an engine's thread is beside it, and reports through
`call_soon_threadsafe`. It knows sessions and an engine, no files and no grpc: streams are Listeners.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from esper_telemetry.collector.frame_check import FrameCheck
from esper_telemetry.collector.metrics import skip_label
from esper_telemetry.collector.producers import (
    Admission,
    Producer,
    Roster,
    bounded_labels,
    producer_key,
    restore,
    storage_refusal,
)
from esper_telemetry.collector.quotas import Quotas, check_hello
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.collector.session import Session, claim, fence
from esper_telemetry.collector.subscription import Readership
from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.header import writer_name
from esper_telemetry.recordfile.layout import Skip
from esper_telemetry.storage.engine import (
    Cycle,
    ProducerProgress,
    PutFrame,
    PutSchema,
    PutSkip,
    SchemaTooLongError,
    Seal,
    Watermark,
    weight,
)
from esper_telemetry.v1 import collector_pb2
from esper_telemetry.wire import PROTOCOL

if TYPE_CHECKING:
    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.frame_check import Validation
    from esper_telemetry.collector.limits import CollectorLimits
    from esper_telemetry.collector.metrics import Metrics
    from esper_telemetry.collector.producers import Listener
    from esper_telemetry.storage.engine import Engine
    from esper_telemetry.storage.naming import ProducerKey

# A disk that does not answer within this time is failing, as far as a Hello is concerned.
_SETTLE_S = 5.0


class Intake:
    """Takes what streams bring, in order, and tells them what became durable.

    Args:
        engine: makes durable what is taken.
        limits: what the collector takes.
        validation: how much of a frame is looked at.
        metrics: where it counts.

    Attributes:
        roster: the producers in memory.
        readers: those who follow runs.
        unavailable: why no stream is let in; None while they are.
        engine: as given.
    """

    def __init__(self, engine: Engine, limits: CollectorLimits, validation: Validation, metrics: Metrics) -> None:
        self.engine = engine
        self.limits = limits
        self.roster = Roster(engine, self._forgot)
        self.unavailable: Refused | None = None
        self._validation = validation
        self._decoder = FrameDecoder()
        self._metrics = metrics
        self._schemas = SchemaCheck(limits)
        self._quotas = Quotas(limits)
        self.readers = Readership(engine, self.roster, self._quotas)
        self._open_runs: Counter[str] = Counter()
        self._queued = 0
        self._queued_since: float | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._loop = asyncio.get_running_loop()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn what the engine has, start to take.

        Raises:
            ConfigError: the engine cannot run as it is told to.
            SinkError: the disk refused; nothing may be acked then.
        """
        await self.engine.start(self._hand_over)

    async def stop(self, seal_s: float) -> None:
        """Have the engine finish what was put, and end."""
        await self._schemas.close()
        await self.engine.stop(seal_s)

    def seal_idle(self, now: float) -> None:
        """Seal the segments of producers that have had no stream for a while, and forget the sealed ones."""
        self.roster.seal_idle(now, self.readers.runs)

    def count_expired(self, sizes: list[int]) -> None:
        """Count segments that retention deleted, by their sizes."""
        self._metrics.expired_segments.inc(len(sizes))
        self._metrics.expired_bytes.inc(sum(sizes))

    def lag(self, now: float) -> float:
        """Return for how long the oldest frame has been on its way to the disk, at most; seconds."""
        return now - self._queued_since if self._queued_since is not None else 0.0

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return self._quotas.streams.total()

    @property
    def open_runs(self) -> int:
        """Runs with an open stream."""
        return len(self._open_runs)

    def usage(self, tenant: str) -> tuple[int, int]:
        """Return the streams and the readers of a tenant that are open."""
        return self._quotas.streams[tenant], self._quotas.readers[tenant]

    @property
    def queued_bytes(self) -> int:
        """Payload bytes on their way to the disk."""
        return self._queued

    # --- streams ------------------------------------------------------------------------------------------------------

    async def admit(self, hello: collector_pb2.Hello, tenant: Tenant, listener: Listener) -> Admission:
        """Let a stream in and make it the one that writes; the one before is stopped.

        Raises:
            Refused: it is not let in.
        """
        check_hello(hello, self.limits)
        key = producer_key(hello.run_id, hello.producer_id)
        tenant.check_run(key.run_id)
        if self.unavailable is not None:
            raise self.unavailable
        known = self.roster.producers.get(key)
        self._check_quotas(known, key, tenant)
        producer = await self.roster.enter(key)
        try:
            await self._check_runs(key, tenant)
            self._check_quotas(producer, key, tenant)
            claim(producer.numbers, hello.session_epoch, self.limits.epoch_step)
        except Refused:
            self._put_down(producer)
            raise
        if producer.listener is not None:
            producer.listener.stop(Refused("FENCED", f"a stream with session_epoch {hello.session_epoch} took over"))
        self._hold(producer, listener, tenant)
        producer.labels = bounded_labels(dict(hello.labels), self.limits.labels_bytes)
        producer.outcome = collector_pb2.CLOSE_OUTCOME_UNSPECIFIED
        producer.last_seen_ns = time.time_ns()
        try:
            await self._settle(producer, hello.session_epoch)
            schema = producer.fingerprint if producer.fingerprint == hello.schema_fingerprint else b""
            session = Session(producer.numbers, hello.session_epoch, schema, self.limits, self._loop.time())
            session.heard(self._loop.time())
        except BaseException:
            self.leave(producer, listener)
            raise
        welcome = self._welcome(producer, hello.schema_fingerprint)
        return Admission(producer, session, tenant, welcome, FrameCheck(self.limits, self._validation, self._decoder))

    def leave(self, producer: Producer, listener: Listener) -> None:
        """Record that a stream ended."""
        if producer.listener is not listener:
            return  # another one took over, and with it the count
        self._let_go(producer)
        producer.last_seen_ns = time.time_ns()
        self._put_down(producer)

    def _put_down(self, producer: Producer) -> None:
        """Leave a producer to be sealed and forgotten, unless a stream of it is open."""
        if producer.listener is not None:
            return
        producer.left_at = self._loop.time()
        unused = not producer.numbers.taken_seq and not producer.queued_bytes
        if unused or self.engine.elsewhere:  # what others keep need not be kept here
            self.roster.forget(producer)

    async def watermark(self, request: collector_pb2.GetWatermarkRequest, tenant: Tenant) -> collector_pb2.Welcome:
        """Return what is durable of a producer; nothing changes.

        Raises:
            Refused: IDENTITY, FORBIDDEN, or STORAGE where it cannot be known now.
        """
        key = producer_key(request.run_id, request.producer_id)
        tenant.check_run(key.run_id)
        known = self.roster.producers.get(key)
        try:
            beyond = await self.engine.lookup(key)
        except SinkError as error:
            raise storage_refusal(str(error)) from error
        if known is None and beyond is None:
            beyond = Watermark((await restore(self.engine, key)).lane.numbers.durable_seq, 0)
        return self._welcome(known, request.schema_fingerprint, beyond)

    async def turn(self, admission: Admission, message: collector_pb2.ClientMessage) -> None:
        """Wait until a message may be received: there is room, its tenant's rate allows it, its schema is checked.

        Raises:
            Refused: the schema cannot be taken.
        """
        kind = message.WhichOneof("message")
        if kind == "schema":
            await self._schemas.check_ahead(message.schema, admission.producer.key)
        await self.turn_of(admission, kind)

    async def turn_of(self, admission: Admission, kind: str | None) -> None:
        """Wait until a message of a kind may be received, its schema aside: there is room, and a rate allows it."""
        while not self._room.is_set():  # of all who wait, no more go on than there is room for
            await self._room.wait()
        if kind in ("batch", "schema", "skip"):
            await self._quotas.wait_turn(admission.tenant, self._loop.time)

    # --- messages -----------------------------------------------------------------------------------------------------

    def receive_batch(self, admission: Admission, batch: collector_pb2.Batch) -> float:
        """Take a frame that came beside others in one message; as `receive`."""
        now = self._loop.time()
        admission.session.heard(now)
        return self._batch(admission, batch, now)

    def receive(self, admission: Admission, message: collector_pb2.ClientMessage) -> float:
        """Take one message of a stream; return how long the stream has to wait before the next one, seconds.

        Raises:
            Refused: the stream must end.
        """
        session, now = admission.session, self._loop.time()
        session.heard(now)
        kind = message.WhichOneof("message")
        if kind == "batch":
            return self._batch(admission, message.batch, now)
        if kind == "schema":
            return self._schema(admission, message.schema, now)
        if kind == "skip":
            return self._skip(admission, message.skip, now)
        if kind == "close":
            self._close(admission, message.close, now)
        elif kind != "heartbeat":
            raise Refused(
                "MESSAGE_ORDER", f"{kind or 'an empty message'} came where Batch, Schema, Skip or Close could"
            )
        return 0.0

    def _batch(self, admission: Admission, batch: collector_pb2.Batch, now: float) -> float:
        payload = batch.payload  # a copy each time it is asked for
        metrics, size = self._metrics, len(payload)
        metrics.received_frames.inc()
        metrics.received_bytes.inc(size)
        metrics.tenant_bytes.labels(admission.tenant.name).inc(size)
        desc = admission.check.check(batch, payload)
        duplicates = admission.session.duplicates
        if not admission.session.batch(batch, now):
            metrics.duplicate_frames.inc(admission.session.duplicates - duplicates)
            return 0.0
        metrics.accepted_frames.inc()
        metrics.accepted_events.inc(batch.count)
        metrics.tenant_events.labels(admission.tenant.name).inc(batch.count)
        return self._put(admission, PutFrame(payload, desc), now)

    def _schema(self, admission: Admission, schema: collector_pb2.Schema, now: float) -> float:
        put = self._schemas.check(schema, admission.producer.key)
        producer = admission.producer
        if not admission.session.schema(schema.fingerprint):
            return 0.0
        self._schemas.hold(put)
        if producer.fingerprint:
            self._schemas.release(producer.fingerprint)
        producer.schema, producer.fingerprint = put, schema.fingerprint
        return self._put(admission, put, now)

    def _put(self, admission: Admission, item: PutFrame | PutSchema | PutSkip, now: float) -> float:
        """Hand an item over and count it; return how long its tenant has to wait before the next."""
        size, producer, tenant = weight(item), admission.producer, admission.tenant
        try:
            self.engine.put(producer.lane, item)
        except SchemaTooLongError as error:
            raise Refused("SCHEMA_INVALID", str(error)) from error
        self.roster.queue(producer, size)
        self._queued += size
        self._queued_since = self._queued_since or now
        if self._queued >= self.limits.queue_bytes:
            self._room.clear()
        wait = self._quotas.rate(tenant).take(size, now)
        if wait:
            admission.session.throttle(wait, now)
        self._quotas.check_bytes(producer.key.run_id, self.roster.run_bytes(producer.key.run_id), tenant)
        return wait

    def _skip(self, admission: Admission, skip: collector_pb2.Skip, now: float) -> float:
        first = admission.session.skip(skip, now)
        if not first:
            return 0.0
        self._metrics.skipped_numbers.labels(skip_label(skip.reason)).inc(skip.last_seq - first + 1)
        return self._put(admission, PutSkip(Skip(first, skip.last_seq, skip.reason & _UINT32)), now)

    def _close(self, admission: Admission, close: collector_pb2.Close, now: float) -> None:
        if admission.session.close(close, now):
            known = close.outcome in collector_pb2.CloseOutcome.values()
            admission.producer.outcome = close.outcome if known else collector_pb2.CLOSE_OUTCOME_UNSPECIFIED
            if close.outcome != collector_pb2.CLOSE_OUTCOME_INCOMPLETE:
                self.engine.put(admission.producer.lane, Seal())

    # --- what the store reports ---------------------------------------------------------------------------------------

    def _hand_over(self, cycle: Cycle) -> None:
        """Bring a report from the store's thread into the loop; a loop that is gone needs none."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._report, cycle)

    def _report(self, cycle: Cycle) -> None:
        for seconds in cycle.sync_seconds:
            self._metrics.sync_seconds.observe(seconds)
        self.count_expired(cycle.expired)
        for progress in cycle.progress:
            self._progress(progress)
        self._queued_since = self._loop.time() if self._queued else None
        if self._queued < self.limits.queue_bytes:
            self._room.set()

    def _progress(self, progress: ProducerProgress) -> None:
        self._queued -= progress.weight
        self._metrics.durable_bytes.inc(progress.payload_bytes)
        self._metrics.lost_numbers.inc(sum(last - first + 1 for first, last in progress.lost))
        producer = self.roster.producers.get(progress.key)
        if producer is None:
            self.roster.give_back(progress.key.run_id, progress.expired_bytes)
            return
        self.roster.report(producer, progress)
        refused = None
        if progress.fenced_by:
            refused = fence(producer.numbers, progress.fenced_by)
        elif progress.error is not None:
            self._metrics.storage_errors.inc()
            refused = storage_refusal(progress.error)
        if progress.rewound or refused is not None:
            producer.numbers.rewind()
        if refused is not None and producer.listener is not None:
            producer.listener.stop(refused)
        producer.moved.set()
        if producer.listener is not None:
            producer.listener.progressed()
        self.readers.moved(progress.key.run_id)

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _check_quotas(self, producer: Producer | None, key: ProducerKey, tenant: Tenant) -> None:
        if producer is None or producer.tenant != tenant.name:  # else it takes the place of its own stream
            self._quotas.check_stream(tenant)
        self._quotas.check_bytes(key.run_id, self.roster.run_bytes(key.run_id), tenant)

    async def _check_runs(self, key: ProducerKey, tenant: Tenant) -> None:
        """Check that the run of a producer in memory may be there; one that has something stored may."""
        if not tenant.max_runs or self.roster.run_bytes(key.run_id):
            return
        try:
            stored = await self.engine.runs()
        except (SinkError, OSError) as error:
            raise storage_refusal(str(error)) from error
        runs = {*stored, *(each.run_id for each in self.roster.producers)}
        self._quotas.check_runs(sum(run_id.startswith(tenant.run_prefix) for run_id in runs), tenant)

    def _forgot(self, producer: Producer) -> None:
        if producer.fingerprint:
            self._schemas.release(producer.fingerprint)

    def _hold(self, producer: Producer, listener: Listener, tenant: Tenant) -> None:
        """Count a stream for its tenant, and no more for the one that it takes the place of."""
        self._let_go(producer)
        self._quotas.streams[tenant.name] += 1
        self._open_runs[producer.key.run_id] += 1
        producer.listener, producer.tenant = listener, tenant.name
        producer.left_at, producer.sealing = None, False

    def _let_go(self, producer: Producer) -> None:
        if producer.tenant is not None:
            self._quotas.streams[producer.tenant] -= 1
            run_id = producer.key.run_id
            self._open_runs[run_id] -= 1
            if not self._open_runs[run_id]:
                del self._open_runs[run_id]
        producer.listener = producer.tenant = None

    async def _settle(self, producer: Producer, epoch: int) -> None:
        """Wait until the stream is the one that writes and nothing is on its way: the Welcome states it all."""
        self.engine.claim(producer.lane, epoch)
        deadline = self._loop.time() + _SETTLE_S
        while not (producer.lane.writes(epoch) and producer.numbers.taken_seq <= producer.numbers.durable_seq):
            if producer.numbers.epoch != epoch:
                return  # fenced meanwhile, as the session will find
            producer.moved.clear()
            left = deadline - self._loop.time()
            try:
                await asyncio.wait_for(producer.moved.wait(), max(left, 0.001))
            except TimeoutError:
                raise storage_refusal(producer.lane.failed or f"no answer within {_SETTLE_S:g} s") from None

    def _welcome(
        self, producer: Producer | None, fingerprint: bytes, beyond: Watermark | None = None
    ) -> collector_pb2.Welcome:
        known = producer is not None and bool(fingerprint) and producer.fingerprint == fingerprint
        if beyond is None:
            beyond = Watermark(producer.numbers.durable_seq, producer.numbers.epoch) if producer else Watermark(0, 0)
        return collector_pb2.Welcome(
            protocol=PROTOCOL,
            durable_seq=beyond.durable_seq,
            limits=self.limits.to_proto(),
            heartbeat_ms=int(self.limits.heartbeat_s * 1000),
            need_schema=not known,
            durability=collector_pb2.Durability.Name(self.engine.durability),
            session_epoch=beyond.epoch,
            server=writer_name(),
        )


_UINT32 = (1 << 32) - 1
