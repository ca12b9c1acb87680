"""The producers that a collector has in memory: those with a stream, and those whose stream ended a moment ago.

The disk is the memory of all others: a producer is restored from its files when its stream begins, and forgotten once
it is sealed and has no stream. Bytes are counted by run, from what files and queues hold, so that deleted segments are
subtracted and a restart forgets nothing. Lives in one event loop.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.collector.light_event import LightEvent
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.layout import ID_BYTES
from esper_telemetry.storage.engine import PutSchema, Seal
from esper_telemetry.storage.naming import NAME_RULE, ProducerKey, is_name
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.frame_check import FrameCheck
    from esper_telemetry.collector.session import Session
    from esper_telemetry.storage.engine import Engine, ProducerLane, ProducerProgress, RestoredProducer
    from esper_telemetry.storage.sequence import SequenceNumbers


def producer_key(run_id: str, producer_id: bytes) -> ProducerKey:
    """Return the key of a producer.

    Raises:
        Refused: the run id or the producer id is not valid (IDENTITY).
    """
    check_run_id(run_id)
    if len(producer_id) != ID_BYTES or not any(producer_id):
        raise Refused("IDENTITY", f"producer_id has {len(producer_id)} bytes; send the {ID_BYTES} of the header")
    return ProducerKey(run_id, bytes(producer_id))


def check_run_id(run_id: str) -> None:
    """Check that `run_id` may be a run id.

    Raises:
        Refused: it is not valid (IDENTITY).
    """
    if not is_name(run_id):
        raise Refused("IDENTITY", f"run_id {run_id[:200]!r} cannot be a run id: {NAME_RULE}")


class Listener(Protocol):
    """A stream, as the intake sees it."""

    def stop(self, refused: Refused) -> None:
        """End the stream with this error."""

    def progressed(self) -> None:
        """Something became durable, or is known to be lost on its way."""


@dataclass(slots=True, eq=False)
class Producer:
    """What a running collector knows of one producer.

    Attributes:
        lane: its way through the engine.
        listener: its open stream.
        schema: the last Schema; its header names stream, rank and host.
        fingerprint: of that schema.
        outcome: of its Close; a restart forgets it.
        labels: of the last Hello.
        last_seen_ns: wall clock of the last stream's start or end, ns since 1970 UTC.
        stored_bytes: of its segments.
        queued_bytes: on their way to them.
        tenant: name of the tenant whose stream is open; None while none is.
        left_at: when the last stream ended, on the loop's clock; None while one is open, or there was none.
        sealing: its segment is to be sealed though no Close came.
        moved: set whenever a cycle reported on it.
    """

    lane: ProducerLane
    listener: Listener | None = None
    schema: PutSchema | None = None
    fingerprint: bytes = b""
    outcome: int = collector_pb2.CLOSE_OUTCOME_UNSPECIFIED
    labels: dict[str, str] = field(default_factory=dict)
    last_seen_ns: int = 0
    stored_bytes: int = 0
    queued_bytes: int = 0
    tenant: str | None = None
    left_at: float | None = None
    sealing: bool = False
    moved: LightEvent = field(default_factory=LightEvent)

    @property
    def key(self) -> ProducerKey:
        """Its run and id."""
        return self.lane.key

    @property
    def numbers(self) -> SequenceNumbers:
        """Its sequence numbers, which the lane owns."""
        return self.lane.numbers


@dataclass(slots=True, eq=False)
class Admission:
    """A stream that was let in.

    Attributes:
        producer: whose it is.
        session: its state.
        tenant: who called.
        welcome: the answer to its Hello.
        check: looks at its frames.
    """

    producer: Producer
    session: Session
    tenant: Tenant
    welcome: collector_pb2.Welcome
    check: FrameCheck


def bounded_labels(labels: dict[str, str], limit: int) -> dict[str, str]:
    """Return as many labels as take `limit` bytes of text, in the order of their names; more are not kept."""
    kept: dict[str, str] = {}
    for name in sorted(labels):
        limit -= len(name.encode()) + len(labels[name].encode())
        if limit < 0:
            break
        kept[name] = labels[name]
    return kept


# A producer without a stream keeps its segment open for so long: most come back at once.
_IDLE_SEAL_S = 60.0
# As many at once as this may do so: each has a file open, and clients that come and go could use up all descriptors.
_MOST_IDLE = 256
# And stays in memory for so long after it was sealed.
_FORGET_S = 5.0
_STORAGE_RETRY_MS = 2000


class Roster:
    """Producers in memory, and the bytes of their runs.

    Args:
        engine: where the others are.
        forgot: called with each producer that is forgotten.

    Attributes:
        producers: by key.
    """

    def __init__(self, engine: Engine, forgot: Callable[[Producer], None]) -> None:
        self._engine = engine
        self._forgot = forgot
        self._runs: dict[bytes, str] = {}
        self._run_bytes: dict[str, int] = {}
        self._members: Counter[str] = Counter()
        self._closed: set[str] = set()
        # How often something on the disk became other than what was read of it a moment ago.
        self._changes = 0
        self.producers: dict[ProducerKey, Producer] = {}

    async def enter(self, key: ProducerKey) -> Producer:
        """Return a producer, restored from the disk where it is not in memory.

        Raises:
            Refused: its id belongs to a producer of another run (PRODUCER_TAKEN), or the disk refused, or its run is
                closed (STORAGE).
        """
        self._check_open(key.run_id)
        while key not in self.producers:
            changes = self._changes
            restored = await restore(self._engine, key, weigh=key.run_id not in self._run_bytes)
            self._check_open(key.run_id)
            # Another stream may have restored it meanwhile, and even used and left it.
            if changes == self._changes and key not in self.producers:
                self._add(key, restored)
        return self.producers[key]

    @contextlib.contextmanager
    def closed(self, run_id: str) -> Iterator[None]:
        """Refuse every stream of a run meanwhile.

        Raises:
            Refused: it is closed already (BUSY).
        """
        if run_id in self._closed:
            raise Refused("BUSY", f"run {run_id} is being deleted already")
        self._closed.add(run_id)
        try:
            yield
        finally:
            self._closed.discard(run_id)
            self._changes += 1

    def of_run(self, run_id: str) -> list[Producer]:
        """Return the producers of a run that are in memory and have something stored."""
        return [each for key, each in self.producers.items() if key.run_id == run_id and each.lane.published]

    def run_bytes(self, run_id: str) -> int:
        """Return what a run in memory has stored and queued, bytes."""
        return self._run_bytes.get(run_id, 0)

    def queue(self, producer: Producer, weight: int) -> None:
        """Count bytes that are on their way."""
        producer.queued_bytes += weight
        self._run_bytes[producer.key.run_id] += weight

    def report(self, producer: Producer, progress: ProducerProgress) -> None:
        """Count what became of a producer's bytes: stored, cut back or deleted."""
        stored = progress.stored_bytes
        if stored is None:  # this process keeps no files: what went through it counts
            stored = producer.stored_bytes + progress.payload_bytes
        settled = min(progress.weight, producer.queued_bytes)  # a gateway reports what a stream before left, too
        self._run_bytes[producer.key.run_id] += stored - producer.stored_bytes - settled
        producer.queued_bytes -= settled
        producer.stored_bytes = stored

    def give_back(self, run_id: str, size: int) -> None:
        """Count bytes of a run that were deleted without its producers in memory."""
        if run_id in self._run_bytes:
            self._run_bytes[run_id] -= size

    def seal_idle(self, now: float, held: Collection[str]) -> None:
        """Seal what had no stream for a while, and forget what is sealed.

        Args:
            now: on the loop's clock.
            held: runs with a reader; their producers stay.
        """
        alone = [each for each in self.producers.values() if each.left_at is not None and each.listener is None]
        alone.sort(key=lambda each: -(each.left_at or 0.0))
        opened = 0
        for producer in alone:
            idle = now - (producer.left_at or 0.0)
            if producer.lane.is_open or producer.queued_bytes:
                opened += 1
                if (idle > _IDLE_SEAL_S or opened > _MOST_IDLE) and not producer.sealing:
                    producer.sealing = True
                    self._engine.put(producer.lane, Seal())
            elif idle > _FORGET_S and producer.key.run_id not in held:
                self.forget(producer)

    def forget(self, producer: Producer) -> None:
        """Forget a producer; the disk has what is durable of it."""
        key = producer.key
        if self.producers.pop(key, None) is None:
            return
        self._changes += 1
        self._forgot(producer)
        self._engine.forget(producer.lane)
        self._runs.pop(key.producer_id, None)
        self._members[key.run_id] -= 1
        if self._members[key.run_id] <= 0:
            del self._members[key.run_id]
            self._run_bytes.pop(key.run_id, None)

    def _check_open(self, run_id: str) -> None:
        if run_id in self._closed:
            raise Refused("STORAGE", f"run {run_id} is being deleted", retry_after_ms=_STORAGE_RETRY_MS)

    def _add(self, key: ProducerKey, restored: RestoredProducer) -> None:
        if self._runs.setdefault(key.producer_id, key.run_id) != key.run_id:
            raise Refused("PRODUCER_TAKEN", f"producer {key.producer_id.hex()} belongs to another run")
        producer = self.producers[key] = Producer(restored.lane)
        self._members[key.run_id] += 1
        # Files that were in use all the time still have the numbers of the streams before.
        producer.numbers.restart(producer.numbers.durable_seq)
        producer.numbers.epoch = 0
        producer.stored_bytes = restored.stored_bytes
        if restored.header is not None:
            producer.schema = PutSchema(restored.header, b"")
        self._run_bytes.setdefault(key.run_id, restored.run_bytes)


async def restore(engine: Engine, key: ProducerKey, *, weigh: bool = False) -> RestoredProducer:
    """Return what an engine has of a producer.

    Args:
        engine: that keeps it.
        key: the producer.
        weigh: find out what its run takes, too.

    Raises:
        Refused: it cannot be known now (STORAGE).
    """
    try:
        return await engine.restore(key, weigh=weigh)
    except (SinkError, OSError) as error:
        raise storage_refusal(str(error)) from error


async def stored_members(engine: Engine, run_id: str) -> list[ProducerKey]:
    """Return the producers that an engine has something of, in one run.

    Raises:
        Refused: it cannot be known now (STORAGE).
    """
    try:
        return await engine.members(run_id)
    except (SinkError, OSError) as error:
        raise storage_refusal(str(error)) from error


def storage_refusal(error: str) -> Refused:
    """Return what a stream is told whose frames cannot be stored now."""
    return Refused("STORAGE", f"the collector cannot store: {error}", retry_after_ms=_STORAGE_RETRY_MS)
