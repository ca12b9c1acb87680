"""The header of a file that is written anew: all that its headers declare, in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.schema.descriptors import needed_files
from esper_telemetry.v1 import context_pb2, record_pb2

if TYPE_CHECKING:
    from esper_telemetry.recordfile.segment import Segment
    from esper_telemetry.schema.descriptors import SchemaPool


def joined_header(segment: Segment, pool: SchemaPool) -> record_pb2.Header:
    """Return the headers of a segment as one, with the types that they declare and the definitions that these need.

    A type is declared when it is first emitted, or because its schema was given to the run: what a record has no event
    of is kept in both cases, for a reader answers with it.

    Args:
        segment: a segment with all its headers merged.
        pool: its descriptors.
    """
    header = record_pb2.Header()
    header.CopyFrom(segment.header)
    del header.types[:]
    for number, name in sorted(segment.types.items()):
        header.types.add(type_id=number, full_name=name)
    wanted = [context_pb2.Context.DESCRIPTOR.full_name, *(entry.full_name for entry in header.types)]
    header.file_descriptor_set = needed_files(pool.files, wanted).SerializeToString(deterministic=True)
    return header
