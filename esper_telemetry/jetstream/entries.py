"""Entries of the message log, and the names of partitions, subjects and keys. Pure.

A gateway packs what a stream brought; a consumer unpacks it and gets the same: the frame with its descriptor byte for
byte. The partition of a producer follows from its identity alone, so that all gateways agree.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.jetstream.varints import after_varint, varint
from esper_telemetry.recordfile.frame import crc32
from esper_telemetry.recordfile.header import header_frame_bytes, parse_header_frame
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, ID_BYTES, MAX_RAW_BYTES, Skip, parse_descriptor
from esper_telemetry.schema.envelope import encode_varint
from esper_telemetry.storage.engine import PutFrame, PutSchema, PutSkip, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.recovery import without_descriptors
from esper_telemetry.v1 import collector_pb2, log_pb2, record_pb2

if TYPE_CHECKING:
    from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder


# The smallest maximum message that a frame with its entry fits into: the default of NATS.
LEAST_PAYLOAD = 1 << 20

# Tags of LogEntry.frame and LogFrame.payload, from log.proto: number << 3 | 2 (a length and so many bytes follow).
_FRAME_TAG = b"\x3a"
_PAYLOAD_TAG = b"\x1a"
# Bytes after the tag by wire type; a varint (0) and what states its length (2) are looked at.
_FIXED_BYTES = {1: 8, 5: 4}
# Streams whose entries' first fields are remembered.
_HEADS = 4096


class SessionId(NamedTuple):
    """One stream of a producer, wherever it is.

    Attributes:
        epoch: its session epoch.
        nonce: made by its gateway; of two with the same epoch the one that reaches the log first writes.
    """

    epoch: int
    nonce: int


class Open(NamedTuple):
    """A stream begins."""


class ArrivedEntry(NamedTuple):
    """An entry as a consumer gets it.

    Attributes:
        key: whose it is.
        session: the stream that brought it.
        content: what it brought.
        fingerprint: of the schema that a frame needs, or that a schema is; empty where none matters.
        first_seq: first number of a frame or skip, else 0.
        last_seq: last number of it; the last number before a Seal; else 0.
    """

    key: ProducerKey
    session: SessionId
    content: Open | PutSchema | PutFrame | PutSkip | Seal
    fingerprint: bytes = b""
    first_seq: int = 0
    last_seq: int = 0


def partition_of(key: ProducerKey, partitions: int) -> int:
    """Return the partition of a producer, 0 to `partitions` - 1: CRC-32 of run id and producer id."""
    return crc32(key.producer_id, crc32(key.run_id.encode("utf-8", "surrogatepass"))) % partitions


def bucket_key(kind: str, key: ProducerKey) -> str:
    """Return the name in the bucket of what is kept of a producer: "state" or "schema".

    A run id has characters that a key may not have, so its hash replaces it; the value has the id.
    """
    run = hashlib.sha256(key.run_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{kind}.{key.producer_id.hex()}.{run}"


# --- a gateway packs --------------------------------------------------------------------------------------------------


def entry_for(key: ProducerKey, session: SessionId) -> log_pb2.LogEntry:
    """Return an entry of a stream without content."""
    return log_pb2.LogEntry(
        run_id=key.run_id, producer_id=key.producer_id, session_epoch=session.epoch, session_nonce=session.nonce
    )


def packed_schema(put: PutSchema, encoder: FrameEncoder) -> log_pb2.LogSchema:
    """Return a schema as it travels."""
    header = record_pb2.Header()
    header.CopyFrom(put.header)
    header.file_descriptor_set = put.descriptors
    raw = header_frame_bytes(header)
    return log_pb2.LogSchema(fingerprint=put.fingerprint, header_frame=encoder.encode(raw), raw_len=len(raw))


def frame_entry(key: ProducerKey, session: SessionId, put: PutFrame, fingerprint: bytes) -> bytes:
    """Return the serialized LogEntry that carries a frame.

    Protobuf copies a payload when a field is set, when the message goes into another one, and when it is serialized.
    Joined by hand it is copied once; a test compares the bytes with protobuf's.
    """
    head = _head_bytes(key, session)
    fields = log_pb2.LogFrame(schema_fingerprint=fingerprint, crc32=crc32(put.payload)).SerializeToString()
    length = _PAYLOAD_TAG + encode_varint(len(put.payload))
    size = len(fields) + len(length) + len(put.payload)
    return b"".join((head, _FRAME_TAG, encode_varint(size), fields, length, put.payload))


@lru_cache(maxsize=_HEADS)
def _head_bytes(key: ProducerKey, session: SessionId) -> bytes:
    return entry_for(key, session).SerializeToString()


def packed_skip(put: PutSkip) -> collector_pb2.Skip:
    """Return a skip as it travels; an unknown reason goes through as it is."""
    skip = collector_pb2.Skip(first_seq=put.skip.first_seq, last_seq=put.skip.last_seq)
    skip.reason = put.skip.reason  # type: ignore[assignment]  # an open enum: any number is one
    return skip


# --- a consumer unpacks -----------------------------------------------------------------------------------------------


def unpack_entry(data: bytes | memoryview, decoder: FrameDecoder) -> ArrivedEntry:
    """Return what a serialized LogEntry holds; the payload of a frame is a view of `data`.

    Raises:
        RecordError: it is no entry, or it is damaged.
    """
    view = memoryview(data)
    frame = _field(view, _head_length(view), len(view), _FRAME_TAG[0])
    if frame is not None and frame.end == len(view):
        head = _read_head(bytes(view[: frame.tag]))
        if head is not None:
            return _frame(*head, view[frame.start : frame.end])
    try:
        entry = log_pb2.LogEntry.FromString(bytes(view) if frame is None else _without(view, frame))
    except DecodeError as error:
        raise CorruptRecordError(f"{len(data):,} bytes are no LogEntry: {error}") from None
    if len(entry.producer_id) != ID_BYTES or not entry.run_id:
        raise CorruptRecordError(
            f"a LogEntry of run {entry.run_id!r} has a producer_id of {len(entry.producer_id)} bytes"
        )
    key, session = _identity(entry)
    kind = entry.WhichOneof("content")
    if frame is not None and kind is None:
        return _frame(key, session, view[frame.start : frame.end])
    if kind == "schema":
        return ArrivedEntry(key, session, _schema(entry.schema, decoder), entry.schema.fingerprint)
    if kind == "skip":
        skip = Skip(entry.skip.first_seq, entry.skip.last_seq, entry.skip.reason & 0xFFFFFFFF)
        return ArrivedEntry(key, session, PutSkip(skip), b"", skip.first_seq, skip.last_seq)
    if kind == "seal":
        return ArrivedEntry(key, session, Seal(), last_seq=entry.seal.final_seq)
    if kind == "open":
        return ArrivedEntry(key, session, Open())
    raise CorruptRecordError(
        f"a LogEntry of run {entry.run_id!r} has no content that is known here: update the consumer"
    )


@lru_cache(maxsize=_HEADS)
def _read_head(head: bytes) -> tuple[ProducerKey, SessionId] | None:
    """Return whose an entry is, from what is before its frame; None where protobuf has to find what is wrong with it.

    The same few bytes precede each frame of a stream: they are parsed once.
    """
    try:
        entry = log_pb2.LogEntry.FromString(head)
    except DecodeError:
        return None
    whole = len(entry.producer_id) == ID_BYTES and entry.run_id and entry.WhichOneof("content") is None
    return _identity(entry) if whole else None


def _identity(entry: log_pb2.LogEntry) -> tuple[ProducerKey, SessionId]:
    return ProducerKey(entry.run_id, entry.producer_id), SessionId(entry.session_epoch, entry.session_nonce)


def _head_length(data: memoryview) -> int:
    """Return the bytes before the frame in an entry that a gateway packed; 0 where it is made in another way."""
    at = 2 + data[1] if len(data) > 2 and data[0] == 0x0A and data[1] < 0x80 else 0  # noqa: PLR2004 - run_id
    if not at or bytes(data[at : at + 2]) != b"\x12\x10":  # producer_id, 16 bytes
        return 0
    at += 2 + ID_BYTES
    if bytes(data[at : at + 1]) != b"\x18":  # session_epoch
        return 0
    at = after_varint(data, at + 1, len(data))
    return (
        at + 9 if bytes(data[at : at + 1]) == b"\x21" and bytes(data[at + 9 : at + 10]) == _FRAME_TAG else 0
    )  # session_nonce


def unpack_schema(data: bytes, decoder: FrameDecoder) -> PutSchema:
    """Return what `packed_schema` was given.

    Raises:
        RecordError: it is damaged.
    """
    try:
        return _schema(log_pb2.LogSchema.FromString(data), decoder)
    except DecodeError as error:
        raise CorruptRecordError(f"{len(data):,} bytes are no LogSchema: {error}") from None


def _schema(schema: log_pb2.LogSchema, decoder: FrameDecoder) -> PutSchema:
    if schema.raw_len > MAX_RAW_BYTES:
        raise CorruptRecordError(f"a schema of {schema.raw_len:,} bytes is over the limit of {MAX_RAW_BYTES:,}")
    header = parse_header_frame(decoder.decode(schema.header_frame, schema.raw_len))
    return PutSchema(without_descriptors(header), header.file_descriptor_set, schema.fingerprint)


def _frame(key: ProducerKey, session: SessionId, data: memoryview) -> ArrivedEntry:
    """Return the frame in a serialized LogFrame; its payload is a view, not a copy."""
    # Before the payload: the fingerprint (2 + 32 bytes) and its checksum (1 + 4), where a gateway packed it.
    before = bytes(data[:40])
    usual = before[:2] == b"\x0a\x20" and before[34:35] == b"\x15" and before[39:] == _PAYLOAD_TAG
    span = _field(data, 39 if usual else 0, len(data), _PAYLOAD_TAG[0])
    try:
        frame = log_pb2.LogFrame.FromString(data.tobytes() if span is None else _without(data, span))
    except DecodeError as error:
        raise CorruptRecordError(f"a frame of run {key.run_id!r} is no LogFrame: {error}") from None
    payload = data[:0] if span is None else data[span.start : span.end]
    found = crc32(payload)
    if found != frame.crc32 or frame.payload:
        raise CorruptRecordError(
            f"a frame of run {key.run_id!r} has CRC-32 {found:08x}, its entry states {frame.crc32:08x}"
        )
    desc = parse_descriptor(payload[-DESCRIPTOR_BYTES:].tobytes())
    if desc is None or desc.compressed_size != len(payload) - DESCRIPTOR_BYTES:
        raise CorruptRecordError(f"a frame of run {key.run_id!r} does not end with its descriptor")
    put = PutFrame(payload, desc)
    return ArrivedEntry(key, session, put, frame.schema_fingerprint, desc.first_seq, desc.last_seq)


# --- bytes of a message that are not copied ---------------------------------------------------------------------------


class _Span(NamedTuple):
    """Where a field is in a serialized message.

    Attributes:
        tag: offset of its tag.
        start: offset of its own bytes.
        end: offset behind them.
    """

    tag: int
    start: int
    end: int


def _without(data: memoryview, span: _Span) -> bytes:
    """Return a serialized message without one field."""
    return b"".join((data[: span.tag], data[span.end :]))


def _field(data: memoryview, at: int, end: int, wanted: int) -> _Span | None:
    """Return the first field whose tag is the byte `wanted`; None where there is none before something unreadable.

    Protobuf parses the rest, so it is protobuf that refuses what cannot be read.
    """
    while at < end:
        tag_at, tag = at, data[at]
        at = after_varint(data, at, end)
        kind = tag & 7
        if kind == 0:
            at = after_varint(data, at, end)
        elif kind == 2:  # noqa: PLR2004 - the wire type of bytes
            behind = after_varint(data, at, end)
            length = varint(data, at, behind)
            at = behind + length
            if tag == wanted and at <= end:
                return _Span(tag_at, behind, at)
        elif kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
        else:
            return None
    return None
