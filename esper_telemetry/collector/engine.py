"""Where frames go to become durable: the one interface between what streams bring and what keeps it.

Two engines: record files of this process (`fileengine`), and a message log that recorders turn into record
files (`door`). An engine takes items in order and reports what became durable.
What may come next, and what is owed for it, is decided before it (`intake`, `session`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.collector.archive import Expired
    from esper_telemetry.collector.handover import Published
    from esper_telemetry.collector.identity import ProducerKey
    from esper_telemetry.collector.items import Cycle, Item
    from esper_telemetry.v1 import collector_pb2, record_pb2


class Lane(Protocol):
    """One producer's way through an engine."""

    @property
    def key(self) -> ProducerKey:
        """Whose it is."""

    @property
    def failed(self) -> str | None:
        """Why it takes nothing until it is claimed again; None if it does."""

    @property
    def is_open(self) -> bool:
        """Whether it holds something open: it must not be forgotten."""

    @property
    def published(self) -> tuple[Published, ...]:
        """Its segments as far as they may be read here; an engine without files has none."""

    def writes(self, epoch: int) -> bool:
        """Tell whether the stream with `epoch` is known, wherever it matters, as the one that writes."""


class Restored(NamedTuple):
    """A producer as an engine finds it when a stream of it begins.

    Attributes:
        lane: its way.
        durable_seq: everything up to it is durable.
        header: of its last segment, without descriptors; None where it has none.
        stored_bytes: of its segments.
        run_bytes: of all segments of its run.
    """

    lane: Lane
    durable_seq: int = 0
    header: record_pb2.Header | None = None
    stored_bytes: int = 0
    run_bytes: int = 0


class Watermark(NamedTuple):
    """What is durable of a producer.

    Attributes:
        durable_seq: everything up to it is durable.
        epoch: highest session epoch seen.
    """

    durable_seq: int
    epoch: int


class Health(NamedTuple):
    """Whether an engine takes anything.

    Attributes:
        free: free part of what it writes to, 0 to 1.
        problem: why it takes nothing; empty if it does.
    """

    free: float
    problem: str


class Engine(Protocol):
    """Makes items durable. All of it is called in the event loop."""

    @property
    def durability(self) -> collector_pb2.Durability:
        """What durable means here."""

    @property
    def elsewhere(self) -> str:
        """Who serves readers; empty where this process does."""

    @property
    def notes(self) -> list[str]:
        """What its start had to put right."""

    @property
    def broken(self) -> str:
        """Why it will never take anything again, one of its threads or tasks having ended; empty if it works."""

    async def start(self, report: Callable[[Cycle], None]) -> None:
        """Begin.

        Args:
            report: called with what became durable, from any thread.

        Raises:
            ConfigError: it cannot run as it is told to.
            SinkError: the place that it writes to refused.
        """

    async def stop(self, seal_s: float) -> None:
        """Finish what was put and end; what is still open may be sealed for `seal_s` seconds."""

    async def restore(self, key: ProducerKey) -> Restored:
        """Return the way of a producer that is not in memory, with what is durable of it.

        Raises:
            SinkError: its files cannot be brought into order.
        """

    async def runs(self) -> list[str]:
        """Return the runs that have something stored here, sorted."""

    async def members(self, run_id: str) -> list[ProducerKey]:
        """Return the producers of a run that have something stored here."""

    async def expire(self, before: float) -> list[Expired]:
        """Delete sealed segments last written before `before` (wall clock, seconds), but the last of each producer.

        Those of restored producers are left alone; they are given an Expire instead.
        """

    async def delete(self, run_id: str) -> int:
        """Delete a run; none of its producers may be in memory. Return its bytes.

        Raises:
            SinkError: the operating system refused.
        """

    def forget(self, lane: Lane) -> None:
        """Take note that nothing will be put into a lane any more; a lane of the same key may come later."""

    def claim(self, lane: Lane, epoch: int) -> None:
        """Begin to make the stream with `epoch` the one that writes, and mend a lane that failed.

        It has happened when the lane `writes` it; a report comes then, and also where another stream won.
        """

    def put(self, lane: Lane, item: Item) -> None:
        """Take `item`; a report says when it is durable.

        Raises:
            Refused: a schema is too long for what it has to pass through.
        """

    async def lookup(self, key: ProducerKey) -> Watermark | None:
        """Return what is known beyond this process; None where there is nothing beyond it.

        Raises:
            Refused: it cannot be known now (STORAGE).
        """

    async def examine(self, min_free: float) -> Health:
        """Look whether the place that is written to works.

        Args:
            min_free: free part below which nothing is taken, 0 to 1.
        """
