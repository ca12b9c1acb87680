"""Finds whole frames in stretches where the scan saw only damage: frames whose descriptor is gone.

A frame that decompresses with its XXH64 is as its writer made it, descriptor or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.facts import frame_facts
from esper_telemetry.recordfile.frame import frame_length, parse_frame_header
from esper_telemetry.recordfile.header import header_descriptor, parse_header_frame
from esper_telemetry.recordfile.piece import Kind, Piece, frame_piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esper_telemetry.recordfile.frame import FrameDecoder
    from esper_telemetry.recordfile.layout import Descriptor
    from esper_telemetry.recordfile.source import Source

REBUILT = "its descriptor was made again from its content"
# Longer damage is searched in stretches of this size; no frame is longer.
_STRETCH_BYTES = 8 << 20


def salvage(source: Source, decoder: FrameDecoder, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield `pieces`, with the whole frames found in damage and in a cut tail as pieces of their own.

    Such a piece has a descriptor made from its events and the reason REBUILT, and ends where the next one starts.
    """
    for piece in pieces:
        if piece.kind in {Kind.DAMAGE, Kind.TAIL}:
            yield from _frames_in(source, decoder, piece)
        else:
            yield piece


def _frames_in(source: Source, decoder: FrameDecoder, piece: Piece) -> Iterator[Piece]:
    data = source.read_at(piece.offset, min(piece.end - piece.offset, _STRETCH_BYTES))
    done = 0
    at = data.find(layout.ZSTD_MAGIC)
    while at >= 0:
        found = _frame_at(decoder, data, at)
        if found is None:
            at = data.find(layout.ZSTD_MAGIC, at + 1)
            continue
        if at > done:
            yield piece._replace(offset=piece.offset + done, end=piece.offset + at, descriptor=None)
        done = min(at + found.compressed_size + layout.DESCRIPTOR_BYTES, len(data))
        rebuilt = frame_piece(piece.offset + at, found)
        yield rebuilt._replace(end=piece.offset + done, reason=REBUILT)
        at = data.find(layout.ZSTD_MAGIC, done)
    if piece.offset + done < piece.end:
        yield piece._replace(offset=piece.offset + done)


def _frame_at(decoder: FrameDecoder, data: bytes, at: int) -> Descriptor | None:
    """Return a descriptor for the whole frame at `at`, made from its content; None if none stands there."""
    try:
        length = frame_length(data, at)
        header = parse_frame_header(data[at:]) if length else None
        if length is None or header is None:
            return None
        frame = data[at : at + length]
        raw = decoder.decode(frame, header.raw_size)
        return describe(frame, raw)
    except (CorruptRecordError, UnsupportedRecordError):
        return None


def describe(frame: bytes, raw: bytes) -> Descriptor:
    """Return the descriptor that fits a frame, from its content alone.

    Raises:
        CorruptRecordError: it holds neither events nor a header.
    """
    try:
        return frame_facts(raw).descriptor(len(frame), len(raw))
    except CorruptRecordError:
        parse_header_frame(raw)
        return header_descriptor(frame, raw)
