"""A header for a file that has lost its own: that of another segment, or the one this SDK would have written.

Segments of one stream share their types and ids, so a sibling's header fits. The header that this SDK writes for its
built-in events is taken only if the damaged file still proves, by the fingerprint after its header, that its
own was the same. Who the writer was is then taken from the name of the file. What was assumed is always reported.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile.header import ASSUMED, HeaderInfo, TypeTable
from esper_telemetry.recordfile.layout import ID_BYTES
from esper_telemetry.recordfile.parity import parse_parity
from esper_telemetry.recordfile.paths import SegmentName
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.reader import RecordReader
from esper_telemetry.recordfile.run_folder import look_into
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.schema.builtin import built_in_types
from esper_telemetry.schema.fingerprint import merged_header, schema_fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from esper_telemetry.v1 import record_pb2

# What precedes the first frame of a file: prologue, header, descriptor, parity. A few more if they are damaged.
_PIECES_BEFORE_FRAMES = 8


class Spare(NamedTuple):
    """A header that may be assumed.

    Attributes:
        header: the header, with every type and descriptor of the segment it is from.
        origin: where it is from, in words.
    """

    header: record_pb2.Header
    origin: str


def find_spare(path: Path, schema_from: Path | None = None) -> Spare | None:
    """Return a header to assume for a file that has lost its own, or None.

    Args:
        path: the file.
        schema_from: a record whose schema the caller vouches for; it goes before all others.

    Raises:
        RecordError: `schema_from` cannot be read.
    """
    if schema_from is not None:
        return _vouched(path, schema_from)
    return _of_sibling(path) or _of_sdk(path)


def _of_sibling(path: Path) -> Spare | None:
    """Return the header of the nearest segment of the same stream; those after it know all its types."""
    name = SegmentName.parse(path)
    if name is None:
        return None
    found = [(other, each) for each in look_into(path.parent).records if (other := SegmentName.parse(each)) is not None]
    siblings = [one for one in found if one[0].same_stream(name) and one[0].segment != name.segment]
    siblings.sort(key=lambda one: (one[0].segment < name.segment, abs(one[0].segment - name.segment)))
    for other, sibling in siblings:
        header = _header_of(sibling)
        if header is not None and header.producer_id[:4].hex() == name.boot:
            header.file_id = header.previous_file_id if other.segment == name.segment + 1 else _made_up(path)
            header.segment = name.segment
            header.previous_file_id = b""
            return _named(header, f"segment {other.segment:,} of the same stream")
    return None


def _of_sdk(path: Path) -> Spare | None:
    """Return the header of this SDK for its built-in events, if the file proves that its own declared the same."""
    fingerprint = _fingerprint_in(path)
    types = list(enumerate(built_in_types(), 1))
    header = TypeTable().first_header(_identity(path), types)
    if not fingerprint or fingerprint != schema_fingerprint(header):
        return None
    return _named(header, "the installed SDK, whose fingerprint the file holds; run and writer are those of its name")


def _vouched(path: Path, schema_from: Path) -> Spare:
    with RecordReader(schema_from) as reader:
        segment = reader.segments[0]
        donor = merged_header(segment.header, segment.descriptor_sets)
    name, fingerprint = SegmentName.parse(path), _fingerprint_in(path)
    header = donor
    if name is None or donor.producer_id[:4].hex() != name.boot:
        header = TypeTable().first_header(_identity(path), [])
        header.types.MergeFrom(donor.types)
        header.file_descriptor_set = donor.file_descriptor_set
    else:
        header.file_id, header.segment, header.previous_file_id = _made_up(path), name.segment, b""
    doubt = "" if fingerprint in (b"", schema_fingerprint(donor)) else ", which is not the schema it was written with"
    return _named(header, f"{schema_from.name}{doubt}")


def _header_of(path: Path) -> record_pb2.Header | None:
    try:
        with RecordReader(path) as reader:
            return merged_header(reader.header, reader.descriptor_sets)
    except (RecordError, DecodeError):
        return None


def _fingerprint_in(path: Path) -> bytes:
    """Return the fingerprint after a damaged header; empty where none can be read."""
    try:
        source = FileSource(path)
    except RecordError:  # bytes in memory have no path
        return b""
    try:
        for piece in islice(walk(source), _PIECES_BEFORE_FRAMES):
            if piece.kind is Kind.PARITY:
                return parse_parity(source.read_at(piece.offset, piece.end - piece.offset)).fingerprint
        return b""
    finally:
        source.close()


def _identity(path: Path) -> HeaderInfo:
    """Return who wrote a file, as far as its name and its folder tell: the same for all files of a stream."""
    name = SegmentName.parse(path)
    if name is None:
        return HeaderInfo(run_id=path.name, producer_id=_made_up(path), file_id=_made_up(path), host="", pid=0)
    stream = f"{name.stream}-{name.rank}-{name.started}-{name.boot}"
    producer = bytes.fromhex(name.boot) + hashlib.sha256(stream.encode()).digest()[: ID_BYTES - 4]
    return HeaderInfo(
        run_id=path.parent.resolve().name,
        producer_id=producer,
        stream=name.stream,
        rank=name.rank,
        segment=name.segment,
        file_id=_made_up(path),
        host="",
        pid=0,
    )


def _made_up(path: Path) -> bytes:
    """Return an id that is the same whenever the same file is looked at."""
    return hashlib.sha256(f"{path.parent.resolve().name}/{path.name}".encode()).digest()[:ID_BYTES]


def _named(header: record_pb2.Header, origin: str) -> Spare:
    header.attributes[ASSUMED] = origin
    return Spare(header, origin)
