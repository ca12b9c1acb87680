"""The states of producers in the bucket, changed by compare-and-set until it is certain who won.

A write that timed out may have happened, and a bucket on a server before 2.10.23 may forget a write that it acked:
so after every doubt the value is read again, and what decides is whose it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.collector.lease import LostError
from esper_telemetry.collector.logentry import bucket_key
from esper_telemetry.collector.producerstate import ProducerState
from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.collector.identity import ProducerKey
    from esper_telemetry.collector.jetstream import JetStream

_RETRY_S = 0.2


class Held(NamedTuple):
    """A state as it stands in the bucket.

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
        recorder: id of this recorder.
    """

    def __init__(self, log: JetStream, recorder: str) -> None:
        self._log = log
        self._recorder = recorder

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
            LostError: as `change` says.
        """
        while True:
            there = await self.read(key)
            held = await self._write(change(there.state), there.revision)
            if held is not None:
                return held

    async def move(self, held: Held, state: ProducerState) -> Held:
        """Replace the state that this recorder wrote last.

        Raises:
            LostError: another recorder has the producer.
        """
        moved = await self._write(state, held.revision)
        while moved is None:
            there = await self.read(state.key)
            if there.state == state:
                return there  # the write that seemed lost
            mine = (there.state.recorder, there.state.generation) == (self._recorder, state.generation)
            if not mine and there.state.generation >= state.generation:
                raise LostError(f"{state.key}: recorder {there.state.recorder} has it now")
            moved = await self._write(state, there.revision)  # the bucket forgot, or a write that timed out came late
        return moved

    async def _write(self, state: ProducerState, revision: int) -> Held | None:
        try:
            written = await self._log.swap(bucket_key("state", state.key), state.to_bytes(), revision)
        except SinkError:
            await asyncio.sleep(_RETRY_S)
            return None
        return Held(state, written) if written is not None else None
