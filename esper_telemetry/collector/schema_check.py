"""Checks a Schema: its size, its producer, its fingerprint, and whether a reader can use its descriptors.

Descriptors are checked once for each fingerprint, and all producers share their bytes. Large ones are checked in a
process of their own (`schema_worker`): a check takes a tenth of a second, in which no other stream would be served, and
megabytes that are freed when that process ends.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.schema_worker import SchemaWorker, WorkerError, check_descriptors
from esper_telemetry.recordfile.layout import FORMAT_MAJOR
from esper_telemetry.schema.descriptors import MAX_DESCRIPTOR_BYTES
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.storage.engine import PutSchema
from esper_telemetry.storage.naming import NAME_RULE, is_name
from esper_telemetry.storage.recovery import without_descriptors

if TYPE_CHECKING:
    from esper_telemetry.collector.limits import CollectorLimits
    from esper_telemetry.storage.naming import ProducerKey
    from esper_telemetry.v1 import collector_pb2


# Descriptors that no stream uses now; beyond it the oldest are checked anew when they come again.
_REMEMBERED_BYTES = 8 << 20
# A check of fewer bytes takes a millisecond or two.
_SMALL = 32 * 1024
_RETRY_MS = 10_000


class SchemaCheck:
    """Checks schemas, shares what is the same in them, and bounds what they take. Lives in one event loop.

    Args:
        limits: what the collector takes.
    """

    def __init__(self, limits: CollectorLimits) -> None:
        self._limits = limits
        self._good: dict[bytes, bytes] = {}
        self._users: Counter[bytes] = Counter()
        self._worker = SchemaWorker()

    async def check_ahead(self, schema: collector_pb2.Schema, key: ProducerKey) -> None:
        """Check what would take long, elsewhere; `check` is quick then.

        Raises:
            Refused: as `check`.
        """
        header = schema.header
        descriptors = header.file_descriptor_set
        if schema.fingerprint in self._good or len(descriptors) < _SMALL:
            return
        fingerprint = self._check_identity(schema, key)
        try:
            problem = await self._worker.check(header.SerializeToString())
        except WorkerError as error:
            raise Refused("STORAGE", f"{error}; come back later", retry_after_ms=_RETRY_MS) from error
        if problem:
            raise Refused("SCHEMA_INVALID", problem)
        self._remember(fingerprint, descriptors)

    def hold(self, put: PutSchema) -> None:
        """Count a stream that uses a schema.

        Raises:
            Refused: the different schemas of all streams take as much as they may (QUOTA).
        """
        if not self._users[put.fingerprint]:
            held = sum(len(self._good[used]) for used in self._users)
            if held + len(put.descriptors) > self._limits.descriptors_bytes:
                message = f"schemas of open streams take {held:,} bytes, {self._limits.descriptors_bytes:,} at most"
                del self._users[put.fingerprint]
                raise Refused("QUOTA", message, retry_after_ms=_RETRY_MS)
        self._users[put.fingerprint] += 1

    def release(self, fingerprint: bytes) -> None:
        """Record that a stream does not use a schema any more."""
        self._users[fingerprint] -= 1
        if not self._users[fingerprint]:
            del self._users[fingerprint]
            self._remember(fingerprint, self._good[fingerprint])

    async def close(self) -> None:
        """End the process that checks."""
        await self._worker.close()

    def check(self, schema: collector_pb2.Schema, key: ProducerKey) -> PutSchema:
        """Return what to store of `schema`.

        Raises:
            Refused: TOO_BIG or SCHEMA_INVALID.
        """
        fingerprint = self._check_identity(schema, key)
        known = self._good.get(fingerprint)
        if known is None:
            known = schema.header.file_descriptor_set
            problem = check_descriptors(schema.header)
            if problem:
                raise Refused("SCHEMA_INVALID", problem)
            self._remember(fingerprint, known)
        return PutSchema(without_descriptors(schema.header), known, fingerprint)

    def _check_identity(self, schema: collector_pb2.Schema, key: ProducerKey) -> bytes:
        """Check sizes, owner and fingerprint; return the fingerprint."""
        size, header = schema.ByteSize(), schema.header
        if size > self._limits.schema_bytes:
            raise Refused("TOO_BIG", f"the schema has {size:,} bytes; the Welcome allows {self._limits.schema_bytes:,}")
        descriptors = len(header.file_descriptor_set)
        if descriptors > MAX_DESCRIPTOR_BYTES:
            raise Refused("TOO_BIG", f"the descriptors take {descriptors:,} bytes: split the .proto files")
        if size - descriptors > self._limits.header_bytes:
            raise Refused(
                "TOO_BIG",
                f"the header takes {size - descriptors:,} bytes beside its descriptors, {self._limits.header_bytes:,}"
                " at most: shorten its attributes",
            )
        if header.run_id != key.run_id:
            raise Refused(
                "SCHEMA_INVALID", f"the header is of run {header.run_id[:200]!r}, the Hello of {key.run_id!r}"
            )
        if header.producer_id != key.producer_id:
            raise Refused(
                "SCHEMA_INVALID",
                f"the header is of producer {header.producer_id[:16].hex()}, the Hello of {key.producer_id.hex()}",
            )
        if header.format_major > FORMAT_MAJOR:
            raise Refused("SCHEMA_INVALID", f"format version {header.format_major} is newer than {FORMAT_MAJOR}")
        if not is_name(header.stream):
            raise Refused("SCHEMA_INVALID", f"header.stream {header.stream[:200]!r} cannot be a name: {NAME_RULE}")
        fingerprint = schema_fingerprint(header)
        if fingerprint != schema.fingerprint:
            raise Refused(
                "SCHEMA_INVALID",
                f"the fingerprint is {schema.fingerprint.hex()[:16]}…, the header makes {fingerprint.hex()[:16]}…",
            )
        return fingerprint

    def _remember(self, fingerprint: bytes, descriptors: bytes) -> None:
        """Keep good descriptors, the latest last; those without a stream are bounded."""
        self._good.pop(fingerprint, None)
        self._good[fingerprint] = descriptors
        spare = [known for known in self._good if not self._users[known]]
        total = sum(len(self._good[known]) for known in spare)
        for known in spare[:-1]:
            if total <= _REMEMBERED_BYTES:
                break
            total -= len(self._good.pop(known))
