"""One partition at its owner: pull, order, store, sync, move the watermark, ack. In this order, always.

A message is acked when the watermark that covers it is in the bucket, or when it is not needed. What is stored and not
yet covered was promised to no client: the next owner of the partition begins at the watermark.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.errors import RecordError, SinkError
from esper_telemetry.jetstream.entries import ArrivedEntry, Open, bucket_key, packed_schema, unpack_entry, unpack_schema
from esper_telemetry.jetstream.leases import LostError
from esper_telemetry.jetstream.messages import Receipt, entries_of, settled
from esper_telemetry.jetstream.sequencer import Offered, Sequencer
from esper_telemetry.storage.engine import ProducerProgress, PutFrame, PutSchema, Seal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from esper_telemetry.daemon.failures import TaskFailures
    from esper_telemetry.jetstream.connection import JetStream
    from esper_telemetry.jetstream.consumer_metrics import ConsumerMetrics
    from esper_telemetry.jetstream.producer_state import Held, ProducerState, Watermarks
    from esper_telemetry.jetstream.pull import LogMessage, Pull
    from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder
    from esper_telemetry.storage.naming import ProducerKey
    from esper_telemetry.storage.producer_files import ProducerFiles
    from esper_telemetry.storage.store import Store

LOG = logging.getLogger("esper_telemetry.consumer")

_TURN_S = 0.25
_RETRY_S = 0.5
# What the messages of a partition may hold in memory before no more are asked for.
_BUFFER_BYTES = 64 << 20
# Held back for so long without progress: their gateway is gone, or will publish them again.
_HELD_S = 30.0
# Far below what the consumer leaves unacked: else what is missing could not be delivered any more.
_HELD_MESSAGES = 2048
_LOOK_S = 1.0
# A watermark is a compare-and-set that three servers agree upon: a producer's moves so often at most. What is synced
# meanwhile is covered by the next one; a window of frames is longer.
_WATERMARK_S = 0.05
_IDLE_S = 60.0


@dataclass(slots=True, eq=False)
class OwnedProducer:
    """One producer at its consumer.

    Attributes:
        files: its segments here.
        held: its state as the bucket has it.
        sequencer: its order.
        schemas: by fingerprint.
        fingerprint: of the schema that its segment has.
        tokens: receipts of entries that are stored, and their last numbers.
        moved_at: time of the last message or progress.
        sealed: its producer is done, until more comes all the same.
        behind: the bucket does not have the present state yet.
        publishing: the task that writes it.
        published_at: time of the last write.
        counted: what became of its entries, as far as the metrics have it.
        offered_seq: last number of the sealed segments that were offered to the compactor, or need not be.
    """

    files: ProducerFiles
    held: Held
    sequencer: Sequencer
    moved_at: float
    schemas: dict[bytes, PutSchema] = field(default_factory=dict)
    fingerprint: bytes = b""
    tokens: deque[tuple[int, Receipt]] = field(default_factory=deque)
    sealed: bool = False
    behind: bool = False
    publishing: asyncio.Task[None] | None = None
    published_at: float = 0.0
    counted: Counter[str] = field(default_factory=Counter)
    offered_seq: int = 0

    @property
    def stored_seq(self) -> int:
        """Everything up to it is synced here; the bucket may not state it yet."""
        return self.files.numbers.durable_seq


class PartitionOwner(Protocol):
    """The consumer, as its partitions see it: what all of them share."""

    id: str
    problem: str
    log: JetStream
    store: Store
    watermarks: Watermarks
    metrics: ConsumerMetrics
    failures: TaskFailures
    encoder: FrameEncoder
    decoder: FrameDecoder

    def files_of(self, key: ProducerKey) -> ProducerFiles:
        """Return the files of a producer in this consumer's folder."""

    def compact(self, key: ProducerKey, path: Path) -> None:
        """Have a sealed segment compacted whose last number a watermark of this consumer covers."""

    async def stored_all(self) -> None:
        """Wait until everything that was put so far is stored."""

    async def put_right(self, keys: Iterable[ProducerKey]) -> None:
        """Make files and bucket agree for these producers."""


class Partition:
    """Keeps one partition from the take of its lease to its end.

    Args:
        consumer: what all partitions of a process share.
        number: which one.
        generation: of the lease.

    Attributes:
        number: as given.
        generation: as given.
        ended: it does nothing any more.
    """

    def __init__(self, consumer: PartitionOwner, number: int, generation: int) -> None:
        self.number = number
        self.generation = generation
        self._consumer = consumer
        self._owned: dict[ProducerKey, OwnedProducer] = {}
        self._pull: Pull | None = None
        self._loop = asyncio.get_running_loop()
        self._buffered = 0
        self._looked = 0.0
        self._lost = False
        self._stopping = False
        self._name = f"partition-{number}"
        self._task = asyncio.create_task(self._run())

    @property
    def ended(self) -> bool:
        """Whether it does nothing any more."""
        return self._task.done()

    async def stop(self) -> None:
        """Take nothing more, store what was taken and publish its watermarks, seal."""
        self._stopping = True
        await asyncio.wait({self._task})  # the caller may be cancelled, the end of a partition may not

    async def _run(self) -> None:
        for step in (self._work, self._leave):
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - the consumer takes the partition again within a second
                self._consumer.failures.failed(self._name, error)

    async def _work(self) -> None:
        """Take turns until `stop` is called, or until another consumer has the partition."""
        try:
            while not (self._stopping or self._lost):
                try:
                    await self._turn()
                    self._consumer.failures.worked(self._name)
                except SinkError as error:
                    LOG.warning("partition %d: %s", self.number, error)
                    if self._pull is not None and self._pull.gone:
                        await self._pull.close()
                        self._pull = None
                    await asyncio.sleep(_RETRY_S)
        except LostError as error:
            LOG.warning("partition %d: %s", self.number, error)

    async def _turn(self) -> None:
        consumer = self._consumer
        if self._pull is None:
            self._pull = await consumer.log.pull(self.number, self.generation)
        if consumer.problem or self._buffered > _BUFFER_BYTES:
            await asyncio.sleep(_TURN_S / 5)
            return
        useless: list[str] = []
        for message in await self._pull.take(_TURN_S):
            useless += settled(await self._take(message))
        await self._pull.ack(useless)
        self._look_around()

    # --- what comes ---------------------------------------------------------------------------------------------------

    async def _take(self, message: LogMessage) -> list[Receipt]:
        """Take a message; return the receipts of its entries, and of others, that need not come again."""
        self._consumer.metrics.messages.inc()
        try:
            entries = entries_of(message.data)
        except RecordError as error:
            return self._damaged(Receipt(message.reply, 1), error)
        receipt = Receipt(message.reply, len(entries))
        useless: list[Receipt] = []
        touched: set[OwnedProducer] = set()
        for entry in entries:
            try:
                arrival = unpack_entry(entry, self._consumer.decoder)
            except RecordError as error:
                useless += self._damaged(receipt, error)
            else:
                owned = self._owned.get(arrival.key) or await self._load(arrival.key)
                useless += await self._take_entry(owned, arrival, receipt)
                touched.add(owned)
        for owned in touched:
            self._count(owned)
        return useless

    def _count(self, owned: OwnedProducer) -> None:
        """Count what became of a producer's entries since it was counted last."""
        counts = owned.sequencer.counts
        for kind, count in counts.items():
            if kind != "ready" and count > owned.counted[kind]:
                self._consumer.metrics.useless.labels(kind).inc(count - owned.counted[kind])
        owned.counted = counts.copy()

    def _damaged(self, receipt: Receipt, error: RecordError) -> list[Receipt]:
        self._consumer.metrics.useless.labels("damaged").inc()
        LOG.error("partition %d: an entry is damaged; its gateway will publish it again: %s", self.number, error)
        return [receipt]

    async def _take_entry(self, owned: OwnedProducer, arrival: ArrivedEntry, receipt: Receipt) -> list[Receipt]:
        if owned.files.failed is not None:
            return []  # its message comes again
        owned.sealed &= isinstance(arrival.content, Seal)  # what comes now needs its schema
        if isinstance(arrival.content, PutSchema) and arrival.fingerprint not in owned.schemas:
            await self._keep_schema(owned, arrival)
        step = owned.sequencer.offer(arrival, receipt)
        useless = list(step.useless)
        for offered in step.ready:
            if self._is_sealed(owned, offered.arrival):
                useless.append(offered.token)
            else:
                self._store(owned, offered)
        if isinstance(arrival.content, Open) or owned.sequencer.session != owned.held.state.session:
            self._publish_watermark(owned)  # the stream waits for it
        return useless

    @staticmethod
    def _is_sealed(owned: OwnedProducer, arrival: ArrivedEntry) -> bool:
        """Return whether an entry is the end of a stream that added nothing: all is durable, and the schema dropped."""
        nothing_new = arrival.last_seq <= owned.held.state.durable_seq
        return isinstance(arrival.content, Seal) and nothing_new and not owned.schemas

    def _store(self, owned: OwnedProducer, offered: Offered) -> None:
        """Hand an entry to the writer thread, under the schema that it needs."""
        arrival, consumer = offered.arrival, self._consumer
        if (arrival.fingerprint and arrival.fingerprint != owned.fingerprint) or not owned.fingerprint:
            owned.fingerprint = arrival.fingerprint or next(reversed(owned.schemas))
            consumer.store.put(owned.files, owned.schemas[owned.fingerprint])
        content = arrival.content
        assert not isinstance(content, Open)  # noqa: S101 - it is never ready
        consumer.store.put(owned.files, content)
        owned.tokens.append((arrival.last_seq, offered.token))
        owned.moved_at = self._loop.time()
        owned.sealed = isinstance(content, Seal)
        if isinstance(content, PutFrame):
            self._buffered += len(content.payload)

    async def _load(self, key: ProducerKey) -> OwnedProducer:
        """Make a producer this consumer's own, and go on behind its watermark."""
        consumer = self._consumer
        files = consumer.files_of(key)

        def mine(state: ProducerState) -> ProducerState:
            if state.generation > self.generation:
                raise LostError(f"{key}: consumer {state.consumer} has it now")
            return state.taken_over(consumer.id, self.generation, files.numbers.durable_seq)

        held = await consumer.watermarks.change(key, mine)
        state = held.state
        files.go_on(state.durable_seq, state.segment, state.file_id)
        owned = OwnedProducer(files, held, Sequencer(files.numbers, state.session), self._loop.time())
        if files.published:  # the last one may have been sealed by a recovery; those before it were offered
            owned.offered_seq = files.published[-1].first_seq - 1
        while True:
            try:
                entry = await consumer.log.get(bucket_key("schema", key))
                break
            except SinkError:
                await asyncio.sleep(_RETRY_S)
        if entry is not None and entry.value:
            with contextlib.suppress(RecordError):  # then its gateway publishes it again
                put = unpack_schema(entry.value, consumer.decoder)
                owned.schemas[put.fingerprint] = put
                owned.sequencer.known.add(put.fingerprint)
        self._owned[key] = owned
        return owned

    async def _keep_schema(self, owned: OwnedProducer, arrival: ArrivedEntry) -> None:
        """Put a schema where a consumer that takes over finds it, before its message is acked."""
        put = arrival.content
        assert isinstance(put, PutSchema)  # noqa: S101 - the caller looked
        value = packed_schema(put, self._consumer.encoder).SerializeToString()
        await self._consumer.log.put(bucket_key("schema", arrival.key), value)
        owned.schemas[arrival.fingerprint] = put

    async def _drop_schema(self, owned: OwnedProducer) -> None:
        """Remove a schema that is not needed any more from the bucket; a stream that comes later brings it again."""
        if owned.schemas:
            owned.schemas.clear()
            owned.sequencer.known.clear()
            owned.fingerprint = b""
            await self._consumer.log.put(bucket_key("schema", owned.files.key), b"")

    # --- what is stored -----------------------------------------------------------------------------------------------

    def progressed(self, progress: ProducerProgress) -> None:
        """Take a report of the writer thread about one of its producers."""
        self._buffered -= progress.payload_bytes
        owned = self._owned.get(progress.key)
        if owned is None:
            return
        owned.moved_at = self._loop.time()
        if progress.error is not None:
            LOG.error("%s: %s", progress.key, progress.error)
            self._consumer.metrics.storage_errors.inc()
            owned.sequencer.rewind()
            owned.tokens.clear()
            owned.fingerprint = b""
            self._loop.call_later(_RETRY_S, self._consumer.store.put, owned.files, owned.files.claim())
        if owned.stored_seq > owned.held.state.durable_seq:
            self._publish_watermark(owned)
        self._offer_sealed(owned)

    def _publish_watermark(self, owned: OwnedProducer) -> None:
        owned.behind = True
        if owned.publishing is None:
            owned.publishing = asyncio.create_task(self._move(owned))

    async def _move(self, owned: OwnedProducer) -> None:
        """Put the watermark into the bucket, notify gateways, ack; again while it advances."""
        try:
            while owned.behind and not self._lost:
                await asyncio.sleep(owned.published_at + _WATERMARK_S - self._loop.time())
                owned.behind, owned.published_at = False, self._loop.time()
                await self._move_once(owned)
        except LostError as error:
            LOG.warning("partition %d: %s", self.number, error)
            self._lost = True
        except SinkError:
            owned.behind = True  # the watermark is in the bucket; gateways ask for it
        except Exception as error:  # noqa: BLE001 - tried again by `_look_around`
            self._consumer.failures.happened("watermarks", error)
            owned.behind = True
        finally:
            owned.publishing = None

    async def _move_once(self, owned: OwnedProducer) -> None:
        state, sequencer = owned.held.state, owned.sequencer
        stored = owned.stored_seq
        segment, file_id = owned.files.tail
        whole = sequencer.numbers.taken_seq == stored  # else something of the stream before is on its way
        session = sequencer.session if whole else state.session
        wanted = replace(state, durable_seq=stored, session=session, segment=segment, file_id=file_id)
        if wanted != state:
            owned.held = await self._consumer.watermarks.move(owned.held, wanted)
        await self._consumer.log.send(
            self._consumer.log.settings.names.durable(self.number), owned.held.state.to_bytes()
        )
        done = []
        while owned.tokens and owned.tokens[0][0] <= stored:
            done.append(owned.tokens.popleft()[1])
        if self._pull is not None:
            await self._pull.ack(settled(done))
        if owned.sealed and whole:
            await self._drop_schema(owned)
        self._consumer.metrics.durable_numbers.inc(stored - state.durable_seq)
        self._offer_sealed(owned)

    def _offer_sealed(self, owned: OwnedProducer) -> None:
        """Have sealed segments compacted that the watermark in the bucket covers whole.

        Behind it another consumer may have stored the same numbers, and these files are cut there: a frame that was
        made of several would be cut with what counts in it.
        """
        files, limit = owned.files, owned.held.state.durable_seq
        sealed = [one for one in files.published if owned.offered_seq < one.last_seq <= limit]
        for segment in sealed:
            if segment.path != files.open_path:
                owned.offered_seq = segment.last_seq
                self._consumer.compact(files.key, segment.path)

    # --- time, and the end --------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Release entries that wait in vain, seal and forget idle producers; once a second."""
        now = self._loop.time()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        held = [owned.sequencer.held for owned in self._owned.values()]
        full = sum(count for count, _ in held) > _HELD_MESSAGES or sum(size for _, size in held) > _BUFFER_BYTES
        for key, owned in list(self._owned.items()):
            idle = now - owned.moved_at
            if (full or idle > _HELD_S) and owned.sequencer.held[0]:
                owned.tokens.extend((0, token) for token in owned.sequencer.release())
                self._publish_watermark(owned)
            elif owned.behind and owned.publishing is None:
                self._publish_watermark(owned)
            elif idle > _IDLE_S and not owned.tokens and owned.publishing is None:
                if owned.files.is_open:
                    self._consumer.store.put(owned.files, Seal())
                    owned.moved_at = now
                else:
                    del self._owned[key]

    async def _leave(self) -> None:
        """Seal, and put right what was stored and is not this consumer's any more."""
        if self._pull is not None:
            await self._pull.close()
        for owned in self._owned.values():
            self._consumer.store.put(owned.files, Seal())
        await self._consumer.stored_all()
        await asyncio.gather(
            *filter(None, (owned.publishing for owned in self._owned.values())), return_exceptions=True
        )
        await self._consumer.put_right(list(self._owned))
        for owned in self._owned.values():
            self._offer_sealed(owned)
