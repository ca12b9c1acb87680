"""What may be assumed for a file that has lost headers: other segments' declarations, or this SDK's.

Segments of one stream share their types and ids, so what the others declare fits; each declares only what it uses, so
all are asked. What this SDK declares of its built-in events is taken only as far as the damaged file proves it, by the
fingerprints after its headers. Who the writer was is in the first header alone: it is taken from another segment, else
from the name of the file. What was assumed is always reported.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.header import ASSUMED, HeaderInfo, TypeTable, add_types
from esper_telemetry.recordfile.layout import ID_BYTES
from esper_telemetry.recordfile.paths import SegmentName
from esper_telemetry.recordfile.proof import Declarable, LostHeaders
from esper_telemetry.recordfile.reader import RecordReader
from esper_telemetry.recordfile.run_folder import look_into
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.schema.builtin import built_in_types
from esper_telemetry.schema.descriptors import file_closure
from esper_telemetry.schema.fingerprint import merged_header
from esper_telemetry.v1 import context_pb2, record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Spare(NamedTuple):
    """A header that may be assumed.

    Attributes:
        header: the header, with every type and descriptor that is known for the file.
        origin: where it is from, in words.
    """

    header: record_pb2.Header
    origin: str


def find_spare(path: Path, schema_from: Path | None = None) -> Spare | None:
    """Return a header to assume for a file that has lost its own or a further one, or None.

    Args:
        path: the file.
        schema_from: a record whose schema the caller vouches for; it goes before all others.

    Raises:
        RecordError: `schema_from` cannot be read.
    """
    if schema_from is not None:
        return _vouched(path, schema_from)
    siblings, proven = _of_siblings(path), _of_sdk(path)
    if siblings is None or proven is None:
        return siblings or proven
    added = _add(siblings.header, [proven.header])
    return _named(siblings.header, f"{siblings.origin} and {proven.origin}" if added else siblings.origin)


def _of_siblings(path: Path) -> Spare | None:
    """Return the header of the nearest segment of the same stream, with what all of them declare."""
    name = SegmentName.parse(path)
    if name is None:
        return None
    found = [(other, each) for each in look_into(path.parent).records if (other := SegmentName.parse(each)) is not None]
    siblings = [one for one in found if one[0].same_stream(name) and one[0].segment != name.segment]
    siblings.sort(key=lambda one: (one[0].segment < name.segment, abs(one[0].segment - name.segment)))
    headers = [(other, header) for other, each in siblings if (header := _header_of(each, name.boot)) is not None]
    if not headers:
        return None
    other, header = headers[0]
    header.file_id = header.previous_file_id if other.segment == name.segment + 1 else _made_up(path)
    header.segment = name.segment
    header.previous_file_id = b""
    more = _add(header, [further for _, further in headers[1:]])
    return _named(header, f"segment {other.segment:,} of the same stream{' and further ones' if more else ''}")


def _of_sdk(path: Path) -> Spare | None:
    """Return what this SDK declares of its built-in events, as far as the file proves that its own headers did."""
    kinds = dict(enumerate(built_in_types(), 1))
    files = file_closure([context_pb2.Context, *(kind.cls for kind in kinds.values())]).file
    could = Declarable({number: kind.full_name for number, kind in kinds.items()}, {file.name: file for file in files})
    found = _lost_headers(path, could)
    if found is None or not found.proven or not found.whole.first:
        return None
    header = _without_types(path)
    _add(header, found.proven)
    return _named(header, "the installed SDK, whose fingerprint the file holds; run and writer are those of its name")


def _vouched(path: Path, schema_from: Path) -> Spare:
    with RecordReader(schema_from) as reader:
        donor, *others = (merged_header(segment.header, segment.descriptor_sets) for segment in reader.segments)
    _add(donor, others)
    name = SegmentName.parse(path)
    header = donor
    if name is None or donor.producer_id[:4].hex() != name.boot:
        header = _without_types(path)
        _add(header, [donor])
    else:
        header.file_id, header.segment, header.previous_file_id = _made_up(path), name.segment, b""
    declared = descriptor_pb2.FileDescriptorSet.FromString(donor.file_descriptor_set).file
    types = {entry.type_id: entry.full_name for entry in donor.types}
    found = _lost_headers(path, Declarable(types, {file.name: file for file in declared}))
    doubt = "" if found is None or not found.unproven else ", which is not proven to be what it was written with"
    return _named(header, f"{schema_from.name}{doubt}")


def _lost_headers(path: Path, could: Declarable) -> LostHeaders | None:
    """Return what the lost headers of a file declared; None where it cannot be read."""
    try:
        source = FileSource(path)
    except RecordError:  # bytes in memory have no path
        return None
    try:
        return LostHeaders(source, FrameDecoder(), could)
    finally:
        source.close()


def _header_of(path: Path, boot: str) -> record_pb2.Header | None:
    """Return the header of a segment with all that it declares; None of another producer, or if it is lost too."""
    try:
        with RecordReader(path) as reader:
            if reader.header.producer_id[:4].hex() != boot:
                return None
            return merged_header(reader.header, reader.descriptor_sets)
    except (RecordError, DecodeError):
        return None


def _add(header: record_pb2.Header, others: Iterable[record_pb2.Header]) -> bool:
    """Add the types and descriptors of other headers of the same program; return whether there were any new types."""
    types = {entry.type_id: entry.full_name for entry in header.types}
    before = len(types)
    sets = [header.file_descriptor_set]
    for other in others:
        new = [entry for entry in other.types if entry.type_id not in types]
        add_types(types, other)
        header.types.extend(new)
        sets.append(other.file_descriptor_set)
    header.file_descriptor_set = merged_header(header, sets).file_descriptor_set
    return len(types) > before


def _without_types(path: Path) -> record_pb2.Header:
    """Return a first header of who wrote a file, without any types or descriptors."""
    header = TypeTable().first_header(_identity(path), [])
    header.ClearField("file_descriptor_set")
    return header


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
