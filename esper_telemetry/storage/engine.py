"""The interface of a storage engine: what is handed to it in order, and what it reports as durable.

Two engines: record files of this process (`file_engine`), and a message log that consumers turn into record files
(`jetstream.gateway`). What may come next, and what is owed for it, is decided before an engine (collector's `intake`
and `session`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from esper_telemetry.errors import TelemetryError
from esper_telemetry.recordfile.layout import SKIP_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esper_telemetry.recordfile.compaction import Compaction, Rewritten
    from esper_telemetry.recordfile.layout import Descriptor, Skip
    from esper_telemetry.storage.archive import Expired, Weighed
    from esper_telemetry.storage.naming import ProducerKey
    from esper_telemetry.storage.published import Published
    from esper_telemetry.storage.sequence import SequenceNumbers
    from esper_telemetry.v1 import collector_pb2, record_pb2


class PutSchema(NamedTuple):
    """The types of the frames that follow.

    Attributes:
        header: the producer's header, without descriptors.
        descriptors: its serialized FileDescriptorSet, shared by all who have the same.
        fingerprint: of both.
    """

    header: record_pb2.Header
    descriptors: bytes
    fingerprint: bytes = b""


class PutFrame(NamedTuple):
    """A frame with its descriptor.

    Attributes:
        payload: both as they came; a view of the message that brought them, or bytes of their own.
        desc: the descriptor, parsed.
    """

    payload: bytes | memoryview
    desc: Descriptor


class PutSkip(NamedTuple):
    """Numbers that will never come."""

    skip: Skip


class Seal(NamedTuple):
    """The producer is done, or silent for a while: close its segment."""


class Claim(NamedTuple):
    """A stream begins: a disk that failed is tried again, and what is called durable is looked for.

    Attributes:
        number: how many claims there were of this producer, this one included.
    """

    number: int


class Inspect(NamedTuple):
    """Look whether what is called durable can be opened: files may be removed, replaced or cut by hand."""


class Expire(NamedTuple):
    """Delete sealed segments, but never the last one: it holds the watermark.

    Attributes:
        before: wall clock, seconds since 1970 UTC; segments that were last written before it go.
    """

    before: float


class Replace(NamedTuple):
    """A sealed segment was compacted: let the new file take its place.

    Attributes:
        found: the new file, read back.
        applied: called with what became of the segment: the new file has its place, or was removed.
    """

    found: Rewritten
    applied: Callable[[Compaction], None]


class CutBack(NamedTuple):
    """Another consumer stored what comes after a number: seal, and remove it here.

    Attributes:
        last_seq: last number that stays.
    """

    last_seq: int


Item = PutSchema | PutFrame | PutSkip | Seal | Claim | Inspect | Expire | Replace | CutBack


def weight(item: Item) -> int:
    """Return the bytes that an item takes in memory while it waits, and on the disk at most (but for some framing)."""
    if isinstance(item, PutFrame):
        return len(item.payload)
    if isinstance(item, PutSchema):
        return len(item.descriptors) + item.header.ByteSize()
    return SKIP_BYTES if isinstance(item, PutSkip) else 0


class ProducerProgress(NamedTuple):
    """What a cycle did for one producer.

    Attributes:
        key: the producer.
        durable_seq: everything up to it is durable.
        payload_bytes: bytes of payload that were on their way and are no more, stored or not.
        weight: the same of all items, as `weight` counts.
        stored_bytes: what its files take on the disk; None where this process keeps none.
        error: why the producer failed; None if it did not.
        lost: ranges of numbers that were called durable and cannot be opened any more; durable_seq is before the
            first of them, unless something behind them is still there.
        rewound: what was on its way and is not durable will never be; it has to be sent again.
        fenced_by: session epoch of a stream elsewhere that writes now; 0 if none does.
        expired_bytes: what its segments took that were deleted for their age.
    """

    key: ProducerKey
    durable_seq: int
    payload_bytes: int
    weight: int = 0
    stored_bytes: int | None = None
    error: str | None = None
    lost: tuple[tuple[int, int], ...] = ()
    rewound: bool = False
    fenced_by: int = 0
    expired_bytes: int = 0


class Cycle(NamedTuple):
    """One round of the writer thread.

    Attributes:
        progress: of each producer it concerned.
        sync_seconds: duration of each fdatasync.
        expired: sizes of the segments that were deleted for their age, bytes.
    """

    progress: list[ProducerProgress]
    sync_seconds: list[float]
    expired: list[int]


class SchemaTooLongError(TelemetryError):
    """A schema does not fit into what it has to pass through on its way to the disk."""


class ProducerLane(Protocol):
    """One producer's way through an engine."""

    @property
    def key(self) -> ProducerKey:
        """Whose it is."""

    @property
    def numbers(self) -> SequenceNumbers:
        """Its sequence numbers: the one object in this process that owns them."""

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
        """Return whether the stream with `epoch` is accepted as the one that writes, also beyond this process."""


class RestoredProducer(NamedTuple):
    """A producer as an engine finds it when a stream of it begins.

    Attributes:
        lane: its way; its numbers state what is durable.
        header: of its last segment, without descriptors; None where it has none.
        stored_bytes: of its segments.
        run_bytes: of all segments of its run; 0 where that was not asked for.
    """

    lane: ProducerLane
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

    async def restore(self, key: ProducerKey, *, weigh: bool = False) -> RestoredProducer:
        """Return the way of a producer that is not in memory, with what is durable of it.

        Args:
            key: the producer.
            weigh: find out what its run takes, too: every file of it is looked up.

        Raises:
            SinkError: its files cannot be brought into order.
        """

    async def runs(self) -> list[str]:
        """Return the runs that have something stored here, sorted."""

    async def members(self, run_id: str) -> list[ProducerKey]:
        """Return the producers of a run that have something stored here."""

    async def weigh(self) -> list[Weighed]:
        """Return what every run takes on the disk; an engine without files has none."""

    async def expire(self, before: Callable[[str], float]) -> list[Expired]:
        """Delete sealed segments last written before `before(run_id)` (wall clock, seconds; 0 keeps all).

        The last one of each producer stays: it holds the watermark.

        Segments of restored producers are deleted by their own files; a report tells of them.
        """

    async def delete(self, run_id: str, why: str) -> int:
        """Delete a run; none of its producers may be in memory. Return its bytes; the log states why.

        Raises:
            SinkError: the operating system refused.
        """

    def forget(self, lane: ProducerLane) -> None:
        """Forget a lane: nothing will be put into it any more; a lane of the same key may come later."""

    def claim(self, lane: ProducerLane, epoch: int) -> None:
        """Begin to make the stream with `epoch` the one that writes, and try a failed lane again.

        It has happened when the lane `writes` it; a report comes then, and also where another stream won.
        """

    def put(self, lane: ProducerLane, item: Item) -> None:
        """Take `item`; a report follows when it is durable.

        Raises:
            SchemaTooLongError: a schema is longer than a message of the log.
        """

    def inspect(self, lanes: Iterable[ProducerLane]) -> None:
        """Look whether what is called durable can be opened; a report comes of those alone of which it cannot."""

    async def lookup(self, key: ProducerKey) -> Watermark | None:
        """Return what is known beyond this process; None where there is nothing beyond it.

        Raises:
            SinkError: it cannot be known now.
        """

    async def examine(self, min_free: float) -> Health:
        """Look whether the place that is written to works.

        Args:
            min_free: free part below which nothing is taken, 0 to 1.
        """
