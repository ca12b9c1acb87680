"""The header of a file that is written anew: all that its events need, and nothing else, in one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2

from esper_telemetry.v1 import context_pb2, record_pb2, steps_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esper_telemetry.recordfile.segment import Segment
    from esper_telemetry.schema.descriptors import SchemaPool

_STEP_BLOCK = steps_pb2.StepBlock.DESCRIPTOR.full_name


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
    wanted = None if used is None else {*names.values(), context_pb2.Context.DESCRIPTOR.full_name}
    header.file_descriptor_set = _needed_files(pool, wanted).SerializeToString()
    return header


def _used_types(segment: Segment) -> set[int] | None:
    """Return the types of the events of a segment; None where that is not known."""
    index = segment.index
    if _STEP_BLOCK in segment.types.values():  # its rows are of types that no event has
        return None
    counts = {} if index is None else {number: count for number, count in index.type_counts.items() if count}
    return set(counts) if sum(counts.values()) == segment.records else None


def _needed_files(pool: SchemaPool, names: set[str] | None) -> descriptor_pb2.FileDescriptorSet:
    """Return the files that declare messages, and what they import, in their order; all of them for None."""
    files = pool.files
    if names is not None:
        waiting = [file.name for file in files.values() if not names.isdisjoint(_declared(file))]
        needed: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in files and name not in needed:
                needed.add(name)
                waiting.extend(files[name].dependency)
        files = {name: file for name, file in files.items() if name in needed}
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def _declared(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    """Yield the full names of the messages in a file."""
    waiting = [(f"{file.package}." if file.package else "", message) for message in file.message_type]
    while waiting:
        prefix, message = waiting.pop()
        yield prefix + message.name
        waiting.extend((f"{prefix}{message.name}.", nested) for nested in message.nested_type)
