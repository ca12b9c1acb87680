"""Header frames that are damaged, made again: from the parity behind them, or with a descriptor that is gone.

What comes out has the checksum of its writer, so it is the header that was written, and not a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.frame import frame_length, parse_frame_header
from esper_telemetry.recordfile.header import parse_header_frame
from esper_telemetry.recordfile.parity import MAX_PARITY_BYTES, PARITY_TAG, Parity, candidates, parse_parity

if TYPE_CHECKING:
    from esper_telemetry.recordfile.frame import FrameDecoder
    from esper_telemetry.recordfile.layout import Descriptor
    from esper_telemetry.recordfile.piece import Piece
    from esper_telemetry.recordfile.source import Source
    from esper_telemetry.v1 import record_pb2

# Where a first header can be looked for: prologue, header, descriptor and parity of the largest one.
_NEAR_BYTES = layout.MAX_HEADER_BYTES + 4096


class Restored(NamedTuple):
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
    """Return the parity at `offset`, where a header and its descriptor end; None if none stands there."""
    data = source.read_at(offset, MAX_PARITY_BYTES)
    if data[:4] != layout.OUR_MAGIC or data[8:12] != PARITY_TAG:
        return None
    _, size = layout.SKIPPABLE_HEADER.unpack_from(data)
    try:
        return parse_parity(data[: layout.SKIPPABLE_HEADER.size + size])
    except CorruptRecordError:
        return None


def restore_header(source: Source, decoder: FrameDecoder, offset: int, desc: Descriptor) -> Restored | None:
    """Return the header frame that was at `offset` before it was damaged; None if it cannot be made again."""
    parity = parity_behind(source, offset + desc.compressed_size + layout.DESCRIPTOR_BYTES)
    if parity is None or max(desc.raw_size, desc.compressed_size) > layout.MAX_HEADER_BYTES:
        return None
    for frame in candidates(source.read_at(offset, desc.compressed_size), parity):
        found = _decoded(decoder, frame, desc.raw_size)
        if found is not None:
            return found
    return None


def find_header(source: Source, decoder: FrameDecoder, damaged: Piece) -> tuple[int, Restored] | None:
    """Return the whole header frame in a damaged stretch, and where it starts: its descriptor alone is gone."""
    data = source.read_at(damaged.offset, min(damaged.end - damaged.offset, _NEAR_BYTES))
    at = data.find(layout.ZSTD_MAGIC)
    try:
        length = frame_length(data, at) if at >= 0 else None
        said = parse_frame_header(data[at:]) if length else None
    except (CorruptRecordError, UnsupportedRecordError):
        return None
    if length is None or said is None:
        return None
    found = _decoded(decoder, data[at : at + length], said.raw_size)
    return None if found is None else (damaged.offset + at, found)


def _decoded(decoder: FrameDecoder, frame: bytes, raw_size: int) -> Restored | None:
    try:
        raw = decoder.decode(frame, raw_size)
        return Restored(frame, raw, parse_header_frame(raw))
    except (CorruptRecordError, UnsupportedRecordError):
        return None
