"""Frames that are whole though the structures around them are damaged, and headers made again from their parity.

A frame that decompresses with its XXH64 is as its writer made it, with a descriptor or without; so is a header that was
corrected by the parity after it. Nothing here is a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.facts import frame_facts
from esper_telemetry.recordfile.frame import frame_length, parse_frame_header
from esper_telemetry.recordfile.header import header_descriptor, parse_header_frame
from esper_telemetry.recordfile.parity import MAX_PARITY_BYTES, PARITY_TAG, Parity, candidates, parse_parity
from esper_telemetry.recordfile.piece import Kind, Piece, frame_piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esper_telemetry.recordfile.frame import FrameDecoder
    from esper_telemetry.recordfile.layout import Descriptor
    from esper_telemetry.recordfile.source import Source
    from esper_telemetry.v1 import record_pb2

REBUILT = "its descriptor was made again from its content"
# Longer damage is searched in stretches of this size; no frame is longer.
_STRETCH_BYTES = 8 << 20
# Where a first header can be looked for: prologue, header, descriptor and parity of the largest one.
_NEAR_BYTES = layout.MAX_HEADER_BYTES + 4096


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
    """Return a descriptor for the whole frame at `at`, made from its content; None if none is there."""
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


# --- headers ----------------------------------------------------------------------------------------------------------


class RestoredHeader(NamedTuple):
    """A header frame that was made again.

    Attributes:
        frame: its bytes as they were written.
        raw: what it holds.
        header: the same, parsed.
    """

    frame: bytes
    raw: bytes
    header: record_pb2.Header


def parity_behind(source: Source, offset: int) -> Parity | None:
    """Return the parity at `offset`, where a header and its descriptor end; None if none is there."""
    data = source.read_at(offset, MAX_PARITY_BYTES)
    if data[:4] != layout.OUR_MAGIC or data[8:12] != PARITY_TAG:
        return None
    _, size = layout.SKIPPABLE_HEADER.unpack_from(data)
    try:
        return parse_parity(data[: layout.SKIPPABLE_HEADER.size + size])
    except CorruptRecordError:
        return None


def restore_header(source: Source, decoder: FrameDecoder, offset: int, desc: Descriptor) -> RestoredHeader | None:
    """Return the header frame that was at `offset` before it was damaged; None if it cannot be made again."""
    parity = parity_behind(source, offset + desc.compressed_size + layout.DESCRIPTOR_BYTES)
    if parity is None or max(desc.raw_size, desc.compressed_size) > layout.MAX_HEADER_BYTES:
        return None
    for frame in candidates(source.read_at(offset, desc.compressed_size), parity):
        found = _decoded(decoder, frame, desc.raw_size)
        if found is not None:
            return found
    return None


def find_header(source: Source, decoder: FrameDecoder, damaged: Piece) -> tuple[int, RestoredHeader] | None:
    """Return the whole header frame in a damaged stretch, and where it starts: its descriptor alone is gone."""
    data = source.read_at(damaged.offset, min(damaged.end - damaged.offset, _NEAR_BYTES))
    at = data.find(layout.ZSTD_MAGIC)
    try:
        length = frame_length(data, at) if at >= 0 else None
        stated = parse_frame_header(data[at:]) if length else None
    except (CorruptRecordError, UnsupportedRecordError):
        return None
    if length is None or stated is None:
        return None
    found = _decoded(decoder, data[at : at + length], stated.raw_size)
    return None if found is None else (damaged.offset + at, found)


def _decoded(decoder: FrameDecoder, frame: bytes, raw_size: int) -> RestoredHeader | None:
    try:
        raw = decoder.decode(frame, raw_size)
        return RestoredHeader(frame, raw, parse_header_frame(raw))
    except (CorruptRecordError, UnsupportedRecordError):
        return None
