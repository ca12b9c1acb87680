"""The header of a file that is written anew: all that its events need, and nothing else, in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.recordfile.row_types import STEP_BLOCK
from esper_telemetry.schema.descriptors import needed_files
from esper_telemetry.v1 import context_pb2, record_pb2

if TYPE_CHECKING:
    from esper_telemetry.recordfile.segment import Segment
    from esper_telemetry.schema.descriptors import SchemaPool


def header_of_used(segment: Segment, pool: SchemaPool) -> record_pb2.Header:
    """Return the headers of a segment as one, with the types that its events have and what these need.

    Args:
        segment: a segment with all its headers merged.
        pool: its descriptors.
    """
    header = record_pb2.Header()
    header.CopyFrom(segment.header)
    used = _used_types(segment)
    names = {number: name for number, name in segment.types.items() if used is None or number in used}
    del header.types[:]
    for number, name in sorted(names.items()):
        header.types.add(type_id=number, full_name=name)
    wanted = [context_pb2.Context.DESCRIPTOR.full_name, *(entry.full_name for entry in header.types)]
    header.file_descriptor_set = needed_files(pool.files, wanted).SerializeToString(deterministic=True)
    return header


def _used_types(segment: Segment) -> set[int] | None:
    """Return the types of the events of a segment; None where that is not known."""
    index = segment.index
    if STEP_BLOCK in segment.types.values():  # its rows are of types that no event has
        return None
    counts = {} if index is None else {number: count for number, count in index.type_counts.items() if count}
    return set(counts) if sum(counts.values()) == segment.records else None
