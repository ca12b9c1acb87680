"""The elements of a decompressed frame: where each event starts and ends in the raw bytes.

Parsing a frame whole is faster; this is for those who pass events on as they are, or
who have a frame that is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema.envelope import ELEMENT_TAG
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_VARINT = 5  # of a length under 4 GiB


def element_spans(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield start, start of the event's own bytes, and end of each whole element of `raw`; a cut last one is left out.

    Raises:
        CorruptRecordError: something else than an element of `RecordFile.event` stands there.
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
    """Return the varint at `at` and the byte behind it; None where it is cut."""
    value = 0
    for shift in range(_LONGEST_VARINT):
        if at + shift >= len(raw):
            return None, at
        byte = raw[at + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint has no continuation bit
            return value, at + shift + 1
    raise CorruptRecordError(f"raw byte {at:,} of the frame holds a length over every limit")


def whole_events(raw: bytes) -> tuple[list[record_pb2.Event], int]:
    """Return the events that are whole at the start of `raw`, and how many bytes they take.

    Nothing vouches for them: they stop at the first that does not parse or whose number does not rise.
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
