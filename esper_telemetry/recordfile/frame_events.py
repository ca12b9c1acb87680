"""The events of a decompressed frame: every way to read them, and the one place that knows their wire format.

A frame is a row of elements of `RecordFile.event`, each a tag, a length and an `Event`. What is wanted decides how:

    parse_events      messages of record.proto
    parse_envelopes   the same with the context as bytes, for those who decode it themselves
    event_columns     a list for each field, without an object for an event
    stated_columns    the same of type, time and sequence number alone
    element_spans     where each element is, for those who pass events on unchanged
    whole_events      what is whole at the start of a frame that is cut

The message classes behind them are derived from `record_pb2.Event`, so a field that is added to record.proto is known
to all of them. A later kind of element (a block of events) gets its tag in `element_spans` and its reading here.
Pure: bytes in, values out.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, EncodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema.batch import MAX_BATCH_BYTES
from esper_telemetry.schema.descriptors import envelope_closure
from esper_telemetry.schema.envelope import ELEMENT_TAG
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.descriptor import Descriptor as MessageDescriptor

# Type and sequence number of an event take four bytes with their tags, its element two more.
SMALLEST_EVENT = 6
_LONGEST_VARINT = 5  # of a length under 4 GiB

_FIELD = descriptor_pb2.FieldDescriptorProto
# FORMAT.md: an event states each of them once.
_STATED = frozenset({"type_id", "time_unix_nano", "seq"})
# A frame as messages whose own messages are bytes; as one event of repeated fields; with required fields.
_ENVELOPES, _COLUMNS, _STRICT = "envelopes", "columns", "strict"
_PACKAGE = "esper_telemetry.recordfile"


class Described(Protocol):
    """What a descriptor states of the events of its frame: a `Descriptor` or a `FrameRef`."""

    @property
    def records(self) -> int:
        """How many they are."""

    @property
    def first_seq(self) -> int:
        """First sequence number that the frame covers."""

    @property
    def last_seq(self) -> int:
        """Last sequence number that the frame covers."""


class Envelope(Protocol):
    """An `Event` of record.proto whose context is bytes. It keeps its whole frame in memory; its bytes are copies."""

    @property
    def type_id(self) -> int:
        """Id in the type table of its segment."""

    @property
    def time_unix_nano(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC."""

    @property
    def seq(self) -> int:
        """Sequence number in the stream."""

    @property
    def context(self) -> bytes:
        """The serialized Context."""

    @property
    def payload(self) -> bytes:
        """The serialized message."""


class EventColumns(NamedTuple):
    """The events of a frame, a sequence for each field, all of the same length and in the order of the events.

    Attributes:
        type_ids: ids in the type table.
        times: wall clock, nanoseconds since 1970 UTC.
        seqs: sequence numbers in the stream.
        contexts: serialized contexts; empty bytes where an event has none.
        payloads: serialized messages.
    """

    type_ids: Sequence[int]
    times: Sequence[int]
    seqs: Sequence[int]
    contexts: Sequence[bytes]
    payloads: Sequence[bytes]


class StatedColumns(NamedTuple):
    """What every event states, as `EventColumns` has it.

    Attributes:
        type_ids: ids in the type table.
        times: wall clock, nanoseconds since 1970 UTC.
        seqs: sequence numbers in the stream.
    """

    type_ids: Sequence[int]
    times: Sequence[int]
    seqs: Sequence[int]


# --- messages ---------------------------------------------------------------------------------------------------------


def parse_events(raw: bytes, desc: Described | None = None) -> Sequence[record_pb2.Event]:
    """Return the events of a frame, each made when it is looked at: cheaper where few are wanted.

    Args:
        raw: the frame.
        desc: its descriptor, which the events must agree with in count and range; None where there is none.

    Raises:
        CorruptRecordError: it holds something else, nothing, or other events than its descriptor states.
    """
    events: Sequence[record_pb2.Event] = _parsed(record_pb2.RecordFile, raw, desc)
    return events


def parse_envelopes(raw: bytes, desc: Described | None = None) -> Sequence[Envelope]:
    """Return the events of a frame with their contexts as bytes, which are not checked.

    On the wire a message field is a bytes field. Left as bytes, a context costs 60 ns instead of 250, and its plain
    form can be looked up: the same few contexts come over and over (measured: 0.16 us instead of 2.9 us an event).

    Args:
        raw: the frame.
        desc: as for `parse_events`.

    Raises:
        CorruptRecordError: as `parse_events`.
    """
    envelopes: Sequence[Envelope] = _parsed(_view(_ENVELOPES), raw, desc)
    return envelopes


def _parsed(cls: Any, raw: bytes, desc: Described | None) -> Any:
    _check_count(raw, desc)
    try:
        content = cls.FromString(raw)
    except DecodeError as error:
        raise CorruptRecordError(f"the frame holds no events: {error}") from None
    if content.header or not content.event:
        raise CorruptRecordError(f"the frame holds {len(content.header)} headers and {len(content.event)} events")
    if desc is not None:
        _check_range(desc, len(content.event), content.event[0].seq, content.event[-1].seq)
    return content.event


def _check_range(desc: Described, records: int, first_seq: int, last_seq: int) -> None:
    if records != desc.records:
        raise CorruptRecordError(f"the frame holds {records:,} events, its descriptor states {desc.records:,}")
    if first_seq < desc.first_seq or last_seq > desc.last_seq:
        raise CorruptRecordError(
            f"the frame holds sequence numbers {first_seq:,} to {last_seq:,}, its descriptor states"
            f" {desc.first_seq:,} to {desc.last_seq:,}"
        )


def _check_count(raw: bytes, desc: Described | None) -> None:
    """Refuse a large frame of many small events before they are parsed: empty ones cost 35 times their bytes then.

    No writer of ours makes frames so large that this is looked at.
    """
    limit = len(raw) // SMALLEST_EVENT if desc is None else desc.records
    if len(raw) > MAX_BATCH_BYTES and sum(1 for _ in islice(element_spans(raw), limit + 1)) > limit:
        raise CorruptRecordError(f"the frame holds more than the {limit:,} events it may")


def whole_events(raw: bytes) -> tuple[list[record_pb2.Event], int]:
    """Return the events that are whole at the start of `raw`, and how many bytes they take.

    No checksum covers them: they stop at the first that does not parse or whose sequence number does not rise.
    """
    events: list[record_pb2.Event] = []
    used = 0
    try:
        for _, body, end in element_spans(raw):
            event = record_pb2.Event.FromString(raw[body:end])
            if event.seq <= (events[-1].seq if events else 0):
                break
            events.append(event)
            used = end
    except (CorruptRecordError, DecodeError):
        pass
    return events, used


# --- columns ----------------------------------------------------------------------------------------------------------
#
# A singular message field that occurs many times on the wire is one message, in which what came is merged, and merged
# repeated fields are appended. So a frame, declared as one event whose fields are repeated, parses into a list for each
# field: 0.25 ms for 3,200 events, where asking each of them takes 1.4 ms. Lists of the same length line up, unless one
# event states a field twice beside another that leaves it out; verify and the collector ask `count_strict` for that.


def event_columns(raw: bytes, desc: Described | None = None) -> EventColumns:
    """Return the events of a frame by column, made in C where every event states every field once, as writers do.

    Else the events are asked one by one; a field that an event leaves out is 0 or empty, as in any proto3 message.

    Args:
        raw: the frame.
        desc: as for `parse_events`.

    Raises:
        CorruptRecordError: as `parse_events`.
    """
    _check_count(raw, desc)
    merged = _merged(raw)
    if merged is None or not _length_of(merged.type_id, merged.time_unix_nano, merged.seq, merged.payload):
        each = [(e.type_id, e.time_unix_nano, e.seq, e.context, e.payload) for e in parse_envelopes(raw, desc)]
        return EventColumns(*map(list, zip(*each, strict=True)))
    seqs, contexts = merged.seq[:], merged.context[:]
    if desc is not None:
        _check_range(desc, len(seqs), seqs[0], seqs[-1])
    if len(contexts) != len(seqs):
        contexts = [e.context for e in parse_envelopes(raw)] if contexts else [b""] * len(seqs)
    return EventColumns(merged.type_id[:], merged.time_unix_nano[:], seqs, contexts, merged.payload[:])


def stated_columns(raw: bytes, records: int) -> StatedColumns | None:
    """Return type, time and sequence number of the events of a frame; None where each event must be asked.

    Args:
        raw: the frame, which `parse_events` accepts.
        records: how many events it holds.
    """
    merged = _merged(raw)
    if merged is None or _length_of(merged.type_id, merged.time_unix_nano, merged.seq) != records:
        return None
    return StatedColumns(merged.type_id, merged.time_unix_nano, merged.seq)


def count_strict(raw: bytes) -> int:
    """Return how many events a frame holds if each states type, time and sequence number; else 0.

    A context that does not parse makes it 0 too.
    """
    try:
        strict = _view(_STRICT).FromString(raw)
        strict.SerializeToString()  # raises where an event leaves out what is required, or has it in another wire type
    except (DecodeError, EncodeError):
        return 0
    return 0 if strict.header else len(strict.event)


def _merged(raw: bytes) -> Any:
    """Return the events of a frame as one, each field a list; None where the bytes are no events alone."""
    try:
        merged = _view(_COLUMNS).FromString(raw)
    except DecodeError:
        return None
    return None if merged.header else merged.event


def _length_of(*columns: Sequence[Any]) -> int:
    """Return the one length of `columns`; 0 where they differ."""
    lengths = set(map(len, columns))
    return lengths.pop() if len(lengths) == 1 else 0


# --- spans ------------------------------------------------------------------------------------------------------------


def element_spans(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield start, start of the event's own bytes, and end of each whole element of `raw`; a cut last one is left out.

    Raises:
        CorruptRecordError: there is something else than an element of `RecordFile.event`.
    """
    at = 0
    while at < len(raw):
        if raw[at : at + 1] != ELEMENT_TAG:
            raise CorruptRecordError(f"raw byte {at:,} of the frame starts no event: {raw[at]:#04x}")
        length, body = _length(raw, at + 1)
        if length is None or body + length > len(raw):
            return
        yield at, body, body + length
        at = body + length


def _length(raw: bytes, at: int) -> tuple[int | None, int]:
    """Return the varint at `at` and the byte after it; None where it is cut."""
    value = 0
    for shift in range(_LONGEST_VARINT):
        if at + shift >= len(raw):
            return None, at
        byte = raw[at + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint has no continuation bit
            return value, at + shift + 1
    raise CorruptRecordError(f"raw byte {at:,} of the frame holds a length over every limit")


# --- message classes --------------------------------------------------------------------------------------------------


def _declared(view: str) -> descriptor_pb2.FileDescriptorProto:
    """Return a frame as `view` has it, with the fields of `Event` as record.proto declares them."""
    event = descriptor_pb2.DescriptorProto()
    record_pb2.Event.DESCRIPTOR.CopyToProto(event)
    # Required fields need proto2; elsewhere an unset field is 0 or empty.
    syntax = "proto2" if view == _STRICT else "proto3"
    name = f"esper_telemetry/recordfile/{view}.proto"
    file = descriptor_pb2.FileDescriptorProto(name=name, package=_PACKAGE, syntax=syntax)
    message = file.message_type.add(name="Event")
    for field in event.field:
        label = _FIELD.LABEL_REPEATED if view == _COLUMNS else _FIELD.LABEL_OPTIONAL
        if view == _STRICT and field.name in _STATED:
            label = _FIELD.LABEL_REQUIRED
        added = message.field.add(name=field.name, number=field.number, type=field.type, label=label)
        if field.type == _FIELD.TYPE_MESSAGE and view == _STRICT:
            added.type_name = field.type_name
        elif field.type == _FIELD.TYPE_MESSAGE:
            added.type = _FIELD.TYPE_BYTES
    fields = record_pb2.RecordFile.DESCRIPTOR.fields_by_name
    label = _FIELD.LABEL_OPTIONAL if view == _COLUMNS else _FIELD.LABEL_REPEATED
    frame = file.message_type.add(name="Frame")
    frame.field.add(name="header", number=fields["header"].number, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_REPEATED)
    frame.field.add(
        name="event",
        number=fields["event"].number,
        type=_FIELD.TYPE_MESSAGE,
        label=label,
        type_name=f".{_PACKAGE}.Event",
    )
    return file


def envelopes_descriptor() -> MessageDescriptor:
    """Return the descriptor of a frame of envelopes, for decoders that take one: fields `header` and `event`."""
    descriptor: MessageDescriptor = _view(_ENVELOPES).DESCRIPTOR
    return descriptor


@cache
def _view(view: str) -> Any:
    """Return the class of a frame as `view` has it; its pool is its own, for these are no types of the schema."""
    pool = descriptor_pool.DescriptorPool()
    declared = _declared(view)
    if view == _STRICT:  # the one that declares messages
        for needed in envelope_closure().file:
            pool.Add(needed)
        declared.dependency.extend(file.name for file in record_pb2.DESCRIPTOR.dependencies)
    pool.Add(declared)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Frame"))
