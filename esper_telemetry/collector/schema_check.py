"""Is this Schema what it says, of this producer, and can a reader use it? Pure.

What is good once is good for all producers: descriptors are checked once for each fingerprint,
and their bytes are shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.collector.identity import segment_names
from esper_telemetry.collector.items import PutSchema
from esper_telemetry.collector.recovery import without_descriptors
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.header import add_types
from esper_telemetry.recordfile.layout import FORMAT_MAJOR
from esper_telemetry.schema.descriptors import MAX_DESCRIPTOR_BYTES, SchemaPool
from esper_telemetry.schema.fingerprint import schema_fingerprint

if TYPE_CHECKING:
    from esper_telemetry.collector.identity import ProducerKey
    from esper_telemetry.collector.limits import Limits
    from esper_telemetry.v1 import collector_pb2, record_pb2

# Different schemas at once; beyond it the oldest is checked anew when it comes again.
_REMEMBERED = 256


class SchemaCheck:
    """Checks schemas and shares what is the same in them.

    Args:
        limits: what the collector takes.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._descriptors: dict[bytes, bytes] = {}

    def check(self, schema: collector_pb2.Schema, key: ProducerKey) -> PutSchema:
        """Return what to store of `schema`.

        Raises:
            Refused: TOO_BIG or SCHEMA_INVALID.
        """
        size = schema.ByteSize()
        if size > self._limits.schema_bytes:
            raise Refused("TOO_BIG", f"the schema has {size:,} bytes; the Welcome said {self._limits.schema_bytes:,}")
        header = schema.header
        if (header.run_id, header.producer_id) != key:
            raise Refused(
                "SCHEMA_INVALID", f"the header is of run {header.run_id[:200]!r}, the Hello of {key.run_id!r}"
            )
        if header.format_major > FORMAT_MAJOR:
            raise Refused("SCHEMA_INVALID", f"format version {header.format_major} is newer than {FORMAT_MAJOR}")
        segment_names(header, 1)
        fingerprint = schema_fingerprint(header)
        if fingerprint != schema.fingerprint:
            raise Refused(
                "SCHEMA_INVALID",
                f"the fingerprint is {schema.fingerprint.hex()[:16]}…, the header makes {fingerprint.hex()[:16]}…",
            )
        descriptors = self._shared(fingerprint, header)
        return PutSchema(without_descriptors(header), descriptors, fingerprint)

    def _shared(self, fingerprint: bytes, header: record_pb2.Header) -> bytes:
        known = self._descriptors.get(fingerprint)
        if known is None:
            known = header.file_descriptor_set
            _check_descriptors(header)
            while len(self._descriptors) >= _REMEMBERED:
                self._descriptors.pop(next(iter(self._descriptors)))
            self._descriptors[fingerprint] = known
        return known


def _check_descriptors(header: record_pb2.Header) -> None:
    if len(header.file_descriptor_set) > MAX_DESCRIPTOR_BYTES:
        raise Refused(
            "TOO_BIG", f"the descriptors take {len(header.file_descriptor_set):,} bytes: split the .proto files"
        )
    types: dict[int, str] = {}
    pool = SchemaPool()
    try:
        add_types(types, header)
        pool.add(header.file_descriptor_set)
        for name in types.values():
            pool.message_class(name)
    except CorruptRecordError as error:
        raise Refused("SCHEMA_INVALID", str(error)) from None
