"""Metrics of a collector: every metric names what it counts. OPERATIONS.md lists them.

Labels are bounded: reasons, tenants of the token file and build, never run ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.collector.handshakes import REASONS as HANDSHAKE_REASONS
from esper_telemetry.collector.refusal import STATUS
from esper_telemetry.daemon.metrics_port import MetricSet
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Counter, Gauge

    from esper_telemetry.storage.compactor import CompactionProgress
    from esper_telemetry.storage.object_archive import ArchiveProgress


GRPC_REASONS = ("calls", "method")
"""What no handler sees: calls beyond those that may be open at once, calls of methods that there are not."""


class Metrics(MetricSet):
    """Everything a collector counts.

    Series by reason exist with 0 from the start: the first refusal of a reason is a rise that `increase()` sees.
    """

    def __init__(self) -> None:
        super().__init__("esper_collector_")
        self._tenants: set[str] = set()
        counter, gauge = self._counter, self._gauge
        self.received_frames = counter("received_frames", "Frames that came, duplicates and refused ones included.")
        self.received_bytes = counter("received_bytes", "Payload bytes that came.")
        self.accepted_events = counter("accepted_events", "Events in frames that were taken, to be written.")
        self.accepted_frames = counter("accepted_frames", "Frames that were taken, to be written.")
        self.durable_bytes = counter(
            "durable_bytes", "Payload bytes that are synced, or were cut back by a disk error."
        )
        self.duplicate_frames = counter("duplicate_frames", "Frames that were stored already, and dropped.")
        self.skipped_numbers = counter("skipped_numbers", "Sequence numbers that clients skipped.", "reason")
        self.refused = counter("refused", "Calls ended with an error, by reason of the protocol.", "reason")
        self.storage_errors = counter("storage_errors", "Times that a producer's disk failed.")
        self.lost_numbers = counter(
            "lost_numbers", "Event numbers that were durable and cannot be opened any more: removed or cut by hand."
        )
        self.expired_segments = counter("expired_segments", "Segments that retention deleted.")
        self.expired_bytes = counter("expired_bytes", "Bytes of segments that retention deleted.")
        self.expired_runs = counter("expired_runs", "Whole runs that retention deleted.")
        self.retention_beyond_bytes = gauge(
            "retention_beyond_bytes", "Bytes that have to stay though retention's size is less."
        )
        self.streams = gauge("streams", "Publish streams that are open.")
        self.open_runs = gauge("open_runs", "Runs with an open stream.")
        self.queued_bytes = gauge("queued_bytes", "Payload bytes on their way to the disk.")
        self.durable_lag_seconds = gauge("durable_lag_seconds", "Age of the oldest frame that is not yet durable.")
        self.free_ratio = gauge("disk_free_ratio", "Free part of the disk, 0 to 1.")
        self.serving = gauge("serving", "1 while the collector takes streams, 0 while it drains or its disk is full.")
        self.unread_runs = gauge("unread_runs", "Runs that are still to be read into the index since the start.")
        self.archive_waiting = gauge("archive_waiting_segments", "Sealed segments that are not in object storage yet.")
        self.archive_failing = gauge("archive_failing", "1 while object storage refuses.")
        self.archived_segments = counter("archived_segments", "Segments sent to object storage and verified there.")
        self.archived_bytes = counter("archived_bytes", "Bytes of segments sent to object storage.")
        self.compacted_segments = counter("compacted_segments", "Sealed segments that were rewritten into full frames.")
        self.compaction_saved_bytes = counter("compaction_saved_bytes", "Bytes that compaction gave back.")
        self.compaction_failures = counter(
            "compaction_failures", "Sealed segments that an error left as they were; the log has it."
        )
        self.failed_calls = counter("failed_calls", "Calls that an error inside the collector ended; its log has them.")
        self.handshake_failures = counter(
            "handshake_failures", "TLS handshakes that gRPC refused, by reason.", "reason"
        )
        self.grpc_refused = counter("grpc_refused", "Calls refused before a handler saw them, by reason.", "reason")
        self.watches = gauge("watches", "Open calls of services that ask for no token: health watches, reflection.")
        self.certificate_expiry = gauge(
            "certificate_expiry_timestamp_seconds",
            "When the first certificate of a file stops to be valid; seconds since 1970.",
            "file",
        )
        self.tenant_bytes = counter("tenant_received_bytes", "Payload bytes that came, by tenant.", "tenant")
        self.tenant_events = counter("tenant_accepted_events", "Events that were taken, by tenant.", "tenant")
        self.tenant_refused = counter("tenant_refused", "Calls of a tenant ended with an error.", "tenant")
        self.tenant_streams = gauge("tenant_streams", "Publish streams that are open, by tenant.", "tenant")
        self.tenant_readers = gauge("tenant_readers", "Live readers, by tenant.", "tenant")
        self.tenant_stored_bytes = gauge("tenant_stored_bytes", "Bytes that the runs of a tenant take.", "tenant")
        self.tenant_stored_runs = gauge("tenant_stored_runs", "Runs that a tenant has stored.", "tenant")
        self.tenant_limit = gauge("tenant_limit", "What a tenant may have, where it is bounded.", "tenant", "limit")
        for reason in HANDSHAKE_REASONS:
            self.handshake_failures.labels(reason)
        for reason in GRPC_REASONS:
            self.grpc_refused.labels(reason)
        for reason in STATUS:
            self.refused.labels(reason.lower())
        for number in collector_pb2.SkipReason.values():
            self.skipped_numbers.labels(skip_label(number))

    def archived(self, progress: ArchiveProgress) -> None:
        """Count what was sent to object storage; from any thread."""
        self.archive_waiting.set(progress.waiting)
        self.archive_failing.set(progress.failed)
        self.archived_segments.inc(progress.segments)
        self.archived_bytes.inc(progress.sent_bytes)

    def compacted(self, progress: CompactionProgress) -> None:
        """Count what became of a sealed segment; from any thread."""
        self.compacted_segments.inc(progress.segments)
        self.compaction_saved_bytes.inc(progress.saved_bytes)
        self.compaction_failures.inc(progress.failed)

    def know_tenants(self, names: Iterable[str]) -> None:
        """Show these tenants, with 0 where they have done nothing yet, and no others any more."""
        wanted = set(names)
        for family in self._by_tenant():
            for label in self._tenants - wanted:
                family.remove(label)
            for label in wanted:
                family.labels(label)
        self._tenants = wanted

    def _by_tenant(self) -> tuple[Counter | Gauge, ...]:
        return (
            self.tenant_bytes, self.tenant_events, self.tenant_refused, self.tenant_streams, self.tenant_readers,
            self.tenant_stored_bytes, self.tenant_stored_runs,
        )  # fmt: skip


def skip_label(reason: int) -> str:
    """Return the label of a SkipReason, "unknown" for a number that is none."""
    known = collector_pb2.SkipReason.DESCRIPTOR.values_by_number.get(reason)
    return known.name.removeprefix("SKIP_REASON_").lower() if known else "unknown"
