"""The persisted state of a producer in the bucket: its watermark, the stream that writes, the owner of its files.

Watermark and owner are one value and change by compare-and-set, so they cannot disagree: a consumer that lost a
producer to another one cannot move its watermark any more. A write that timed out may have happened, and a bucket on a
server before 2.10.23 may forget a write that it acked: so after every doubt the value is read again.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError, SinkError
from esper_telemetry.jetstream.entries import SessionId, bucket_key
from esper_telemetry.jetstream.leases import LostError
from esper_telemetry.storage.naming import ProducerKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.jetstream.connection import JetStream


NO_STREAM = SessionId(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerState:
    """A producer as its owner last wrote it.

    Attributes:
        key: whose it is.
        durable_seq: everything up to it is fdatasynced in a consumer's files.
        session: the stream that writes.
        consumer: id of the consumer whose files go on; empty if none has any.
        generation: of that consumer's lease.
        segment: number of its last segment.
        file_id: of its last segment; empty before the first.
        handed_over: by consumer that had the producer before, the last number that counts in its files.
    """

    key: ProducerKey
    durable_seq: int = 0
    session: SessionId = NO_STREAM
    consumer: str = ""
    generation: int = 0
    segment: int = 0
    file_id: bytes = b""
    handed_over: dict[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return it as JSON, for people at an incident."""
        fields = {
            "run_id": self.key.run_id,
            "producer_id": self.key.producer_id.hex(),
            "durable_seq": self.durable_seq,
            "session_epoch": self.session.epoch,
            "session_nonce": self.session.nonce,
            "consumer": self.consumer,
            "generation": self.generation,
            "segment": self.segment,
            "file_id": self.file_id.hex(),
            "handed_over": self.handed_over,
        }
        return json.dumps(fields).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ProducerState:
        """Return what `to_bytes` was called on; fields that a newer consumer adds are passed over.

        Raises:
            CorruptRecordError: the bytes are something else.
        """
        try:
            fields = json.loads(data)
            return cls(
                key=ProducerKey(fields["run_id"], bytes.fromhex(fields["producer_id"])),
                durable_seq=int(fields["durable_seq"]),
                session=SessionId(int(fields["session_epoch"]), int(fields["session_nonce"])),
                consumer=str(fields["consumer"]),
                generation=int(fields["generation"]),
                segment=int(fields["segment"]),
                file_id=bytes.fromhex(fields["file_id"]),
                handed_over={str(name): int(seq) for name, seq in fields["handed_over"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptRecordError(f"{data[:200]!r} is no state of a producer: {error!r}") from None

    def taken_over(self, consumer: str, generation: int, durable_seq: int) -> ProducerState:
        """Return the state after `consumer` made the producer its own.

        Args:
            consumer: its id.
            generation: of its lease.
            durable_seq: last number in its own files; they count beyond the watermark if no other one wrote after it.
        """
        if self.consumer in ("", consumer):
            durable_seq = max(durable_seq, self.durable_seq)
            return replace(self, consumer=consumer, generation=generation, durable_seq=durable_seq)
        handed = {**self.handed_over, self.consumer: self.durable_seq}
        handed.pop(consumer, None)
        return replace(self, consumer=consumer, generation=generation, handed_over=handed)

    def limit_of(self, consumer: str) -> int | None:
        """Return the last number that counts in the files of `consumer`; None where all do."""
        return None if self.consumer in ("", consumer) else self.handed_over.get(consumer)


_RETRY_S = 0.2


class Held(NamedTuple):
    """A state with its revision in the bucket.

    Attributes:
        state: the state.
        revision: of it; 0 where there is none yet.
    """

    state: ProducerState
    revision: int


class Watermarks:
    """Reads and moves the states of producers.

    Args:
        log: the connection.
        consumer: id of this consumer.
    """

    def __init__(self, log: JetStream, consumer: str) -> None:
        self._log = log
        self._consumer = consumer

    async def read(self, key: ProducerKey) -> Held:
        """Return the state of a producer, however long that takes.

        Raises:
            CorruptRecordError: the bucket holds something else under its name.
        """
        while True:
            try:
                entry = await self._log.get(bucket_key("state", key))
            except SinkError:
                await asyncio.sleep(_RETRY_S)
                continue
            return (
                Held(ProducerState.from_bytes(entry.value), entry.revision)
                if entry
                else Held(ProducerState(key=key), 0)
            )

    async def change(self, key: ProducerKey, change: Callable[[ProducerState], ProducerState]) -> Held:
        """Replace a state by `change` of it, whatever it is by then.

        Args:
            key: the producer.
            change: makes the new state of the present one; it raises LostError where it may not.

        Raises:
            LostError: as `change` raises it.
        """
        while True:
            there = await self.read(key)
            held = await self._write(change(there.state), there.revision)
            if held is not None:
                return held

    async def move(self, held: Held, state: ProducerState) -> Held:
        """Replace the state that this consumer wrote last.

        Raises:
            LostError: another consumer has the producer.
        """
        moved = await self._write(state, held.revision)
        while moved is None:
            there = await self.read(state.key)
            if there.state == state:
                return there  # the write that seemed lost
            mine = (there.state.consumer, there.state.generation) == (self._consumer, state.generation)
            if not mine and there.state.generation >= state.generation:
                raise LostError(f"{state.key}: consumer {there.state.consumer} has it now")
            moved = await self._write(state, there.revision)  # the bucket forgot, or a write that timed out came late
        return moved

    async def _write(self, state: ProducerState, revision: int) -> Held | None:
        try:
            written = await self._log.swap(bucket_key("state", state.key), state.to_bytes(), revision)
        except SinkError:
            await asyncio.sleep(_RETRY_S)
            return None
        return Held(state, written) if written is not None else None
