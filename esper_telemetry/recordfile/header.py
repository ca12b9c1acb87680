"""Header frames: who wrote a file and what its type ids mean.

The first header identifies the file and carries the descriptors of Context; types are declared when they are first
used, by the first header or by a further one. Each declaration carries what its types need and no earlier one has.
Messages in, messages out: no I/O.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.layout import FORMAT_MAJOR, FORMAT_MINOR, ID_BYTES, Descriptor, pack_descriptor
from esper_telemetry.recordfile.parity import pack_parity
from esper_telemetry.schema.bare_files import made_bare, made_whole
from esper_telemetry.schema.descriptors import MAX_DESCRIPTOR_BYTES, file_closure
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.v1 import context_pb2, record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esper_telemetry.schema.event_type import EventType


# A header of 8 KB takes a millisecond, and is 3 % smaller than at level 9; level 19 takes twice as long for 0.2 % more.
_LEVEL = 15
# Attribute of a header: it is not the one that the writer wrote, and where it was taken from.
ASSUMED = "esper_telemetry.assumed_header"


def random_id() -> bytes:
    """Return 16 random bytes: a file id or a producer id."""
    return os.urandom(ID_BYTES)


@cache
def writer_name() -> str:
    """Return the name of this software for headers, e.g. "esper-telemetry-python/0.1.0"; read from disk once."""
    try:
        version = metadata.version("esper-telemetry")
    except metadata.PackageNotFoundError:
        version = "unknown"
    return f"esper-telemetry-python/{version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderInfo:
    """Identity of one file, as its first header states it.

    Attributes:
        run_id: the run, shared by its ranks.
        producer_id: 16 bytes, new for each process start, rank and fork child.
        stream: name of the stream.
        rank: distributed rank.
        run_name: name the user gave.
        file_id: this segment, 16 bytes.
        segment: number of the segment, from 1.
        previous_file_id: the segment before; empty in the first.
        previous_last_seq: last sequence number of the segment before; 0 in the first.
        anchor_unix_nano: wall clock that its times are reckoned from, nanoseconds since 1970 UTC.
        anchor_monotonic_nano: monotonic clock at the same moment.
        host: host name.
        pid: process id.
        writer: software that writes.
        frame_bytes: raw size at which a frame is cut.
        flush_interval_s: age at which a frame is cut, seconds.
        sync: when data is forced to the disk.
        attributes: free labels.
        attempt: attempt at the run, from 1.
        launch: launch of the process, the same for all its ranks; empty where no launcher names it.
        parent_producer_id: of the run's own stream, in the stream of a child process; else empty.
    """

    run_id: str
    producer_id: bytes
    stream: str = "main"
    rank: int = 0
    run_name: str = ""
    file_id: bytes = field(default_factory=random_id)
    segment: int = 1
    previous_file_id: bytes = b""
    previous_last_seq: int = 0
    anchor_unix_nano: int = 0
    anchor_monotonic_nano: int = 0
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    writer: str = field(default_factory=writer_name)
    frame_bytes: int = 256 * 1024
    flush_interval_s: float = 1.0
    sync: str = "close"
    attributes: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    launch: str = ""
    parent_producer_id: bytes = b""


class TypeTable:
    """Types a writer has declared in a file, and the descriptors it has embedded."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._files: set[str] = set()

    def first_header(self, info: HeaderInfo, types: Sequence[tuple[int, EventType]]) -> record_pb2.Header:
        """Return the first header of a file, which declares `types`; Context is embedded even without any."""
        header = record_pb2.Header(
            format_major=FORMAT_MAJOR,
            format_minor=FORMAT_MINOR,
            file_id=info.file_id,
            run_id=info.run_id,
            producer_id=info.producer_id,
            stream=info.stream,
            segment=info.segment,
            previous_file_id=info.previous_file_id,
            previous_last_seq=info.previous_last_seq,
            anchor_unix_nano=info.anchor_unix_nano,
            anchor_monotonic_nano=info.anchor_monotonic_nano,
            host=info.host,
            pid=info.pid,
            rank=info.rank,
            writer=info.writer,
            run_name=info.run_name,
            flush_policy=record_pb2.FlushPolicy(
                frame_bytes=info.frame_bytes, flush_interval_s=info.flush_interval_s, sync=info.sync
            ),
            attributes=info.attributes,
            attempt=info.attempt,
            launch=info.launch,
            parent_producer_id=info.parent_producer_id,
        )
        self._fill(header, types, [context_pb2.Context, *(kind.cls for _, kind in types)])
        return header

    def further_header(self, file_id: bytes, types: Sequence[tuple[int, EventType]]) -> record_pb2.Header | None:
        """Return a header that declares those of `types` that are new; None if all are known."""
        new = [(number, kind) for number, kind in types if self._names.get(number) != kind.full_name]
        if not new:
            return None
        header = record_pb2.Header(format_major=FORMAT_MAJOR, format_minor=FORMAT_MINOR, file_id=file_id)
        self._fill(header, new, [kind.cls for _, kind in new])
        return header

    def declared(self, header: record_pb2.Header) -> None:
        """Record that `header` is in the file: its types and descriptors are known from now on."""
        self._names.update((entry.type_id, entry.full_name) for entry in header.types)
        self._files.update(descriptor_files(header.file_descriptor_set))

    def _fill(self, header: record_pb2.Header, types: Iterable[tuple[int, EventType]], classes: Iterable[type]) -> None:
        for number, kind in types:
            header.types.add(type_id=number, full_name=kind.full_name)
        closure = file_closure(classes, known=self._files)
        if closure.file:
            header.file_descriptor_set = closure.SerializeToString(deterministic=True)


def descriptor_files(serialized_set: bytes) -> list[str]:
    """Return the names of the files in a serialized FileDescriptorSet."""
    return [file.name for file in descriptor_pb2.FileDescriptorSet.FromString(serialized_set).file]


def header_frame_bytes(header: record_pb2.Header) -> bytes:
    """Return the raw bytes of the frame that holds `header`, names and comments of its types as text beside them."""
    content = record_pb2.RecordFile(header=[header])
    (packed,) = content.header
    packed.file_descriptor_set, packed.definitions = made_bare(header.file_descriptor_set)
    return content.SerializeToString(deterministic=True)


class HeaderFrame(NamedTuple):
    """A header as it stands in a file.

    Attributes:
        frame: the zstd frame.
        desc: its descriptor.
        parity: what follows both, so that damage does not cost the segment; empty where nothing does.
    """

    frame: bytes
    desc: Descriptor
    parity: bytes

    @property
    def data(self) -> bytes:
        """The frame and its descriptor."""
        return self.frame + pack_descriptor(self.desc)


def pack_header(header: record_pb2.Header, level: int = _LEVEL) -> HeaderFrame:
    """Return a header as it stands in a file, compressed at a level of zstd."""
    raw = header_frame_bytes(header)
    frame = FrameEncoder(level).encode(raw)
    return HeaderFrame(frame, header_descriptor(frame, raw), header_parity(frame, header))


def parse_header_frame(raw: bytes) -> record_pb2.Header:
    """Return the header in the raw bytes of a header frame, its descriptors whole.

    Raises:
        CorruptRecordError: the bytes hold no header, more than one, events, or descriptors over the limit.
    """
    try:
        content = record_pb2.RecordFile.FromString(raw)
    except DecodeError as error:
        raise CorruptRecordError(f"the header frame is no protobuf: {error}") from None
    if len(content.header) != 1 or content.event or content.block:
        raise CorruptRecordError(
            f"the header frame holds {len(content.header)} headers and {len(content.event)} events, not one header"
        )
    header: record_pb2.Header = content.header[0]
    if header.definitions:
        header.file_descriptor_set = _whole(header)
        header.ClearField("definitions")
    if len(header.file_descriptor_set) > MAX_DESCRIPTOR_BYTES:
        raise CorruptRecordError(
            f"the header embeds {len(header.file_descriptor_set):,} bytes of descriptors;"
            f" the format's limit is {MAX_DESCRIPTOR_BYTES:,}"
        )
    return header


def _whole(header: record_pb2.Header) -> bytes:
    try:
        return made_whole(header.file_descriptor_set, header.definitions)
    except DecodeError:  # whoever needs a descriptor finds that they are none
        return header.file_descriptor_set


def add_types(types: dict[int, str], header: record_pb2.Header) -> None:
    """Add the types that `header` declares to the table `types`.

    Raises:
        CorruptRecordError: an id is 0, has no name, or is declared again with another name.
    """
    for entry in header.types:
        known = types.setdefault(entry.type_id, entry.full_name)
        if not entry.type_id or not entry.full_name or known != entry.full_name:
            raise CorruptRecordError(
                f"the header declares type {entry.type_id} as {entry.full_name!r}"
                + (f", which is {known!r} already" if known != entry.full_name else "")
            )


def is_further(header: record_pb2.Header) -> bool:
    """Tell whether a header is a further one, which names its file and nothing else."""
    return not header.run_id and not header.producer_id


def header_descriptor(frame: bytes, raw: bytes) -> Descriptor:
    """Return the descriptor of a header frame: no events, no sequence numbers, no times."""
    return Descriptor(len(frame), len(raw), 0, 0, 0, 0, 0, 0)


def header_parity(frame: bytes, header: record_pb2.Header) -> bytes:
    """Return what follows a header frame and its descriptor, so that damage does not cost the segment.

    A header that declares nothing names nothing that is worth it: nothing follows it.
    """
    declares = header.types or header.file_descriptor_set
    return pack_parity(frame, schema_fingerprint(header)) if declares else b""
