"""One event as a reader sees it. Its payload is parsed when it is asked for, and only then."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.decode.steps import rows
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema.envelope import element_size
from esper_telemetry.schema.notebook import notebook_table
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from esper_telemetry.decode.steps import BlockRow
    from esper_telemetry.decode.types import EventKind, Origin
    from esper_telemetry.recordfile import Envelope
    from esper_telemetry.v1.options_pb2 import FieldMeta

_MICROSECOND = 1000


class BlockFacts(NamedTuple):
    """The events that a block of steps holds.

    Attributes:
        row_type: full name of the type of its rows.
        rows: how many rows.
        times: earliest and latest time of a row, nanoseconds since 1970 UTC.
    """

    row_type: str
    rows: int
    times: tuple[int, int]


def block_facts(kind: EventKind, payload: bytes, time_unix_nano: int) -> BlockFacts | None:
    """Return the rows of a block of steps, without making its rows; None where it cannot be decoded.

    Args:
        kind: the type of the event, that of blocks.
        payload: the serialized block.
        time_unix_nano: time of the event, for blocks without times of their own.
    """
    try:
        message: Any = kind.parse(payload)
    except CorruptRecordError:
        return None
    offsets = message.time_offsets_us
    times = (time_unix_nano, time_unix_nano)
    if message.HasField("first_time_unix_nano") and offsets:
        first = message.first_time_unix_nano
        times = first + _MICROSECOND * min(offsets), first + _MICROSECOND * max(offsets)
    return BlockFacts(message.row_type, rows(message), times)


class Event:
    """An event of a record.

    Attributes:
        time_unix_nano: wall clock, nanoseconds since 1970 UTC.
        seq: sequence number of the event in its stream, from 1.
    """

    __slots__ = ("_context", "_data", "_kind", "_origin", "_payload", "seq", "time_unix_nano")

    def __init__(self, kind: EventKind, origin: Origin, envelope: Envelope) -> None:
        self._kind = kind
        self._origin = origin
        self.time_unix_nano = envelope.time_unix_nano
        self.seq = envelope.seq
        # Copies: the envelope would keep its whole frame in memory.
        self._context = envelope.context
        self._payload = envelope.payload
        self._data: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Event {self.type} seq={self.seq} {self.data}>"

    def _repr_html_(self) -> str:
        """Return its fields with their units, for a notebook."""
        units = self.units
        rows = [(name, value, units.get(name, "")) for name, value in self.data.items()]
        moment = datetime.fromtimestamp(self.time_unix_nano // 1_000_000_000, UTC)
        return notebook_table(f"{self.type} #{self.seq}, {moment:%Y-%m-%d %H:%M:%S} UTC", rows)

    @property
    def type(self) -> str:
        """Short name of the type, e.g. "seed.culled"; "type:7" for an id that the record does not declare."""
        return self._kind.name

    @property
    def full_name(self) -> str:
        """Full name of the message, e.g. "esper.v1.SeedCulled"."""
        return self._kind.full_name

    @property
    def run_id(self) -> str:
        """The run it belongs to."""
        return self._origin.run_id

    @property
    def stream(self) -> str:
        """Name of its stream."""
        return self._origin.stream

    @property
    def producer_id(self) -> bytes:
        """The 16 bytes that number its stream: sequence numbers rise among events that share them."""
        return self._origin.producer_id

    @property
    def path(self) -> str:
        """The file it was read from, as text."""
        return self._origin.path

    @property
    def rank(self) -> int:
        """Distributed rank of the process that emitted it."""
        return self._origin.rank

    @property
    def attempt(self) -> int:
        """The attempt at the run that it belongs to, from 1: a resume is the next one."""
        return self._origin.attempt

    @property
    def position(self) -> tuple[int, int]:
        """Its place in its stream: its sequence number, and the row of the block it came in."""
        return self.seq, 0

    @property
    def context(self) -> context_pb2.Context:
        """Where in the run it happened. What is unset was not bound: ask with HasField.

        Raises:
            CorruptRecordError: its bytes are no context.
        """
        try:
            return context_pb2.Context.FromString(self._context)
        except DecodeError as error:
            raise CorruptRecordError(f"event {self.seq:,} has a context that is none: {error}") from None

    @property
    def payload(self) -> bytes:
        """The serialized message."""
        return self._payload

    @property
    def size(self) -> int:
        """Bytes it took before compression, envelope included; what came in a block has a share of it."""
        return element_size(self.seq, len(self._context), len(self._payload))

    @property
    def message(self) -> Message:
        """The message, of a class made from the record's own descriptors.

        Raises:
            CorruptRecordError: the record does not declare the type, or the payload does not fit it.
        """
        return self._kind.parse(self._payload)

    @property
    def units(self) -> dict[str, str]:
        """UCUM unit of each field in `data` that has one; fields of nested messages as "heads.entropy"."""
        data = self.data
        return {name: unit for name, unit in self._kind.units.items() if name.partition(".")[0] in data}

    @property
    def metas(self) -> Mapping[str, FieldMeta]:
        """Unit, range and kind of each field that is annotated, set or not, under the names of `units`."""
        return self._kind.metas

    @property
    def hidden_context(self) -> frozenset[str]:
        """Names in `data` that are fields of Context but hold a field of the payload."""
        return self._kind.hidden_context

    @property
    def data(self) -> dict[str, Any]:
        """Payload and context in one dict, in which what was not measured is absent.

        Nested messages and maps are dicts, enum values their labels. Where a field of the payload
        has the name of a field of Context, the payload's is shown. What the record does not explain
        is there as bytes under "payload".
        """
        if self._data is None:
            self._data = self._decode()
        return self._data

    @property
    def shared(self) -> tuple[EventKind, Origin]:
        """What it shares with the other events of its type and segment: a key to tally events by."""
        return self._kind, self._origin

    def _decode(self) -> dict[str, Any]:
        kind, origin = self._kind, self._origin
        context = origin.schema.context(self._context)
        try:
            data = kind.plain(kind.parse(self._payload)) if kind.plain is not None else {"payload": self._payload}
        except CorruptRecordError:
            origin.undecodable(kind)
            data = {"payload": self._payload}
        if kind.hidden_context:
            return data | context | data
        data.update(context)
        return data


class SharingEvent(Event):
    """An event whose message came whole in a block, and whose time, number and context came by column."""

    __slots__ = ("_size",)

    def __init__(self, kind: EventKind, origin: Origin, envelope: Envelope, size: int) -> None:
        super().__init__(kind, origin, envelope)
        self._size = size

    @property
    def size(self) -> int:
        """Its share of the bytes that the block took."""
        return self._size


class RowEvent(Event):
    """A row of a block of steps: what would have been an event of its own, had it not travelled by column.

    Its sequence number is that of the block; `context` and `message` are made from the row.
    """

    __slots__ = ("_at", "_row", "_size")

    def __init__(self, kind: EventKind, origin: Origin, row: BlockRow, size: int, at: int) -> None:
        self._kind = kind
        self._origin = origin
        self.time_unix_nano = row.time_unix_nano
        self.seq = row.seq
        self._data = None
        self._row = row
        self._size = size
        self._at = at

    @property
    def position(self) -> tuple[int, int]:
        """The sequence number of its block, and its row there."""
        return self.seq, self._at

    @property
    def size(self) -> int:
        """Its share of the bytes that the block took."""
        return self._size

    @property
    def context(self) -> context_pb2.Context:
        """Where in the run the step happened."""
        return context_pb2.Context(**self._row.context)

    @property
    def message(self) -> Message:
        """The row as a message of its own type.

        Raises:
            CorruptRecordError: the record does not declare the type of the rows.
        """
        return self._kind.message_of(self._row.payload)

    @property
    def payload(self) -> bytes:
        """The row as a serialized message."""
        return self.message.SerializeToString()

    def _decode(self) -> dict[str, Any]:
        payload, context = self._row.payload, self._row.context
        ordered = {name: context[name] for name in self._origin.schema.context_fields if name in context}
        return payload | ordered | payload
