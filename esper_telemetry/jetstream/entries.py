"""What travels in the message log, and under which names: entries, partitions, subjects, keys. Pure.

A gateway packs what a stream brought, a consumer unpacks it and gets what the gateway was given: the frame with
its descriptor byte for byte. A producer's partition follows from its identity alone, so that all gateways agree.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.frame import crc32
from esper_telemetry.recordfile.header import header_frame_bytes, parse_header_frame
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, ID_BYTES, MAX_RAW_BYTES, Skip, parse_descriptor
from esper_telemetry.storage.engine import PutFrame, PutSchema, PutSkip, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.recovery import without_descriptors
from esper_telemetry.v1 import collector_pb2, log_pb2, record_pb2

if TYPE_CHECKING:
    from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder


# The smallest maximum message that a frame and what stands around it fit into: NATS' default.
LEAST_PAYLOAD = 1 << 20


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

    A run id has characters that a key may not have, so its hash stands for it; the value names it.
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


def packed_frame(put: PutFrame, fingerprint: bytes) -> log_pb2.LogFrame:
    """Return a frame as it travels."""
    return log_pb2.LogFrame(schema_fingerprint=fingerprint, crc32=crc32(put.payload), payload=put.payload)


def packed_skip(put: PutSkip) -> collector_pb2.Skip:
    """Return a skip as it travels; an unknown reason goes through as it is."""
    skip = collector_pb2.Skip(first_seq=put.skip.first_seq, last_seq=put.skip.last_seq)
    skip.reason = put.skip.reason  # type: ignore[assignment]  # an open enum: any number is one
    return skip


# --- a consumer unpacks -----------------------------------------------------------------------------------------------


def unpack_entry(data: bytes, decoder: FrameDecoder) -> ArrivedEntry:
    """Return what a message of the log holds.

    Raises:
        RecordError: it is no entry, or it is damaged.
    """
    try:
        entry = log_pb2.LogEntry.FromString(data)
    except DecodeError as error:
        raise CorruptRecordError(f"a message of {len(data):,} bytes is no LogEntry: {error}") from None
    if len(entry.producer_id) != ID_BYTES or not entry.run_id:
        raise CorruptRecordError(
            f"a LogEntry of run {entry.run_id!r} has a producer_id of {len(entry.producer_id)} bytes"
        )
    key = ProducerKey(entry.run_id, entry.producer_id)
    session = SessionId(entry.session_epoch, entry.session_nonce)
    kind = entry.WhichOneof("content")
    if kind == "frame":
        return _frame(key, session, entry.frame)
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


def _frame(key: ProducerKey, session: SessionId, frame: log_pb2.LogFrame) -> ArrivedEntry:
    found = crc32(frame.payload)
    if found != frame.crc32:
        raise CorruptRecordError(
            f"a frame of run {key.run_id!r} has CRC-32 {found:08x}, its entry says {frame.crc32:08x}"
        )
    desc = parse_descriptor(frame.payload[-DESCRIPTOR_BYTES:])
    if desc is None or desc.compressed_size != len(frame.payload) - DESCRIPTOR_BYTES:
        raise CorruptRecordError(f"a frame of run {key.run_id!r} does not end with its descriptor")
    put = PutFrame(frame.payload, desc)
    return ArrivedEntry(key, session, put, frame.schema_fingerprint, desc.first_seq, desc.last_seq)
