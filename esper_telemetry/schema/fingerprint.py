"""One name for one schema: what a header declares, merged, and its SHA-256 as both ends of a stream compute it.

Pure. The rule is in collector.proto at Schema.fingerprint.
"""

from __future__ import annotations

import hashlib
from struct import Struct
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2

from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENTRY = Struct("<II")


def merged_header(header: record_pb2.Header, descriptor_sets: Iterable[bytes]) -> record_pb2.Header:
    """Return a copy of `header` that carries every file of `descriptor_sets`, each name once, in order of appearance.

    Args:
        header: the first header of a segment, with the types of all its headers.
        descriptor_sets: the serialized FileDescriptorSets of all its headers, in file order.

    Raises:
        google.protobuf.message.DecodeError: a set is no FileDescriptorSet.
    """
    merged = record_pb2.Header()
    merged.CopyFrom(header)
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for serialized in descriptor_sets:
        for file in descriptor_pb2.FileDescriptorSet.FromString(serialized).file:
            files.setdefault(file.name, file)
    union = descriptor_pb2.FileDescriptorSet(file=files.values())
    merged.file_descriptor_set = union.SerializeToString(deterministic=True)
    return merged


def schema_fingerprint(header: record_pb2.Header) -> bytes:
    """Return the 32 bytes that name the type table and the descriptors of `header`."""
    digest = hashlib.sha256()
    for entry in sorted(header.types, key=lambda entry: entry.type_id):
        name = entry.full_name.encode()
        digest.update(_ENTRY.pack(entry.type_id, len(name)) + name)
    digest.update(header.file_descriptor_set)
    return digest.digest()
