"""Checks a Batch on arrival: checksum, size, framing, descriptor and, when it is due, the events inside. Pure.

`off` checks everything that needs no decompression. `full` decompresses as well, counts, and compares numbers and
types; `sample` does so for the first frame of a stream and every 16th. What is stored is what came, in each case.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import CorruptRecordError, RecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.facts import contradiction, frame_facts
from esper_telemetry.recordfile.frame import FrameDecoder, crc32, frame_length, parse_frame_header
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from esper_telemetry.collector.limits import CollectorLimits
    from esper_telemetry.recordfile.layout import Descriptor

SAMPLED = 16


class Validation(enum.StrEnum):
    """How much of a frame is looked at before it is stored."""

    FULL = "full"
    SAMPLE = "sample"
    OFF = "off"


class FrameCheck:
    """Checks the batches of one stream.

    Args:
        limits: what the collector takes.
        validation: how much is looked at.
        decoder: shared by all streams of a thread, because one that has worked holds 130 KB.
    """

    def __init__(self, limits: CollectorLimits, validation: Validation, decoder: FrameDecoder) -> None:
        self._limits = limits
        self._validation = validation
        self._seen = 0
        self._decoder = decoder

    def check(self, batch: collector_pb2.Batch, payload: bytes) -> Descriptor:
        """Return the descriptor of `batch`.

        Args:
            batch: as it came.
            payload: of the batch; reading the field copies it.

        Raises:
            Refused: TOO_BIG, CHECKSUM, NUMBERS or FRAME_INVALID.
        """
        self._check_sizes(batch, len(payload))
        found = crc32(payload)
        if found != batch.crc32:
            raise Refused("CHECKSUM", f"payload has CRC-32 {found:08x}, the message {batch.crc32:08x}: resend it")
        desc = _descriptor(batch, payload)
        if self._is_due():
            self._check_content(payload[: desc.compressed_size], desc)
        return desc

    def _is_due(self) -> bool:
        self._seen += 1
        if self._validation is Validation.SAMPLE:
            return self._seen % SAMPLED == 1
        return self._validation is Validation.FULL

    def _check_sizes(self, batch: collector_pb2.Batch, size: int) -> None:
        for name, value, limit in (
            ("payload", size, self._limits.frame_bytes),
            ("raw_len", batch.raw_len, self._limits.raw_bytes),
        ):
            if value > limit:
                raise Refused("TOO_BIG", f"{name} has {value:,} bytes; the Welcome allows at most {limit:,}")
        if batch.codec not in (collector_pb2.CODEC_UNSPECIFIED, collector_pb2.CODEC_ZSTD):
            raise Refused("FRAME_INVALID", f"codec {batch.codec} is unknown; send CODEC_ZSTD")

    def _check_content(self, frame: bytes, desc: Descriptor) -> None:
        try:
            raw = self._decoder.decode(frame, desc.raw_size)
            facts = frame_facts(raw)
        except RecordError as error:
            raise Refused("FRAME_INVALID", f"the frame cannot be read: {error}") from None
        wrong = contradiction(desc, facts)
        if wrong:
            raise Refused("FRAME_INVALID", wrong)


def _descriptor(batch: collector_pb2.Batch, payload: bytes) -> Descriptor:
    """Return the descriptor at the end of `payload`, which must be one frame, that descriptor, and nothing else."""
    size = len(payload) - layout.DESCRIPTOR_BYTES
    try:
        desc = layout.parse_descriptor(payload[size:]) if size > 0 else None
        if desc is None:
            raise CorruptRecordError("no descriptor ends it")
        header = parse_frame_header(payload)
        if header is None or frame_length(payload) != size or desc.compressed_size != size:
            raise CorruptRecordError(f"it is not one whole frame of {size:,} bytes and its descriptor")
        if header.raw_size != desc.raw_size:
            raise CorruptRecordError(f"the frame has {header.raw_size:,} raw bytes, its descriptor {desc.raw_size:,}")
    except RecordError as error:
        raise Refused("FRAME_INVALID", f"payload cannot be stored: {error}") from None
    stated = (batch.first_seq, batch.last_seq, batch.count, batch.raw_len)
    if stated != (desc.first_seq, desc.last_seq, desc.records, desc.raw_size):
        raise Refused(
            "FRAME_INVALID",
            f"the message states first_seq, last_seq, count, raw_len {stated}; the descriptor states"
            f" {(desc.first_seq, desc.last_seq, desc.records, desc.raw_size)}",
        )
    if not desc.records or not desc.first_seq:
        raise Refused("NUMBERS", "a frame holds at least one event, and numbers start at 1")
    return desc
