"""The schema that a stream announces before its frames: a producer's merged header, and its fingerprint."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAIR = struct.Struct("<II")


class StreamSchema(NamedTuple):
    """What the frames that follow are made of.

    Attributes:
        fingerprint: SHA-256 of types and descriptors, 32 bytes.
        header: the first header of a segment with the later ones merged in.
    """

    fingerprint: bytes
    header: record_pb2.Header


def merge_headers(headers: Sequence[record_pb2.Header]) -> StreamSchema:
    """Return the schema that the headers of one segment make, in file order.

    Serialized FileDescriptorSets are joined as they are: concatenated protobuf is merged protobuf.
    """
    merged = record_pb2.Header()
    merged.CopyFrom(headers[0])
    for header in headers[1:]:
        merged.types.extend(header.types)
        merged.attributes.update(header.attributes)
    merged.file_descriptor_set = b"".join(header.file_descriptor_set for header in headers)
    return StreamSchema(fingerprint(merged), merged)


def fingerprint(header: record_pb2.Header) -> bytes:
    """Return the fingerprint of a merged header, as `Schema.fingerprint` in collector.proto defines it."""
    digest = hashlib.sha256()
    for entry in sorted(header.types, key=lambda entry: entry.type_id):
        name = entry.full_name.encode()
        digest.update(_PAIR.pack(entry.type_id, len(name)) + name)
    digest.update(header.file_descriptor_set)
    return digest.digest()
