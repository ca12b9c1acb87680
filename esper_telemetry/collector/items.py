"""What is handed to an engine, and what it reports. Values only.

A stream's messages become items, in order. An engine (`store`, `door`) makes them durable and reports in cycles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.recordfile.layout import SKIP_BYTES

if TYPE_CHECKING:
    from esper_telemetry.collector.identity import ProducerKey
    from esper_telemetry.recordfile.layout import Descriptor, Skip
    from esper_telemetry.v1 import record_pb2


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
        payload: both as they came.
        desc: the descriptor, parsed.
    """

    payload: bytes
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


class CutBack(NamedTuple):
    """Somebody else stored what comes after a number: seal, and take it away here.

    Attributes:
        last_seq: last number that stays.
    """

    last_seq: int


Item = PutSchema | PutFrame | PutSkip | Seal | Claim | Inspect | Expire | CutBack


def weight(item: Item) -> int:
    """Return the bytes that an item takes in memory while it waits, and on the disk at most (but for some framing)."""
    if isinstance(item, PutFrame):
        return len(item.payload)
    if isinstance(item, PutSchema):
        return len(item.descriptors) + item.header.ByteSize()
    return SKIP_BYTES if isinstance(item, PutSkip) else 0


class Progress(NamedTuple):
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


class Cycle(NamedTuple):
    """One round of the writer thread.

    Attributes:
        progress: of each producer it concerned.
        sync_seconds: duration of each fdatasync.
        expired: sizes of the segments that were deleted for their age, bytes.
    """

    progress: list[Progress]
    sync_seconds: list[float]
    expired: list[int]
