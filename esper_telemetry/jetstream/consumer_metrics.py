"""Numbers of a consumer for Prometheus. OPERATIONS.md lists them; labels are bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.daemon.metrics_port import MetricSet

if TYPE_CHECKING:
    from esper_telemetry.storage.engine import Cycle


class ConsumerMetrics(MetricSet):
    """Everything a consumer counts."""

    def __init__(self) -> None:
        super().__init__("esper_consumer_")
        counter, gauge = self._counter, self._gauge
        self.messages = counter("messages", "Messages that came from the log, repeated ones included.")
        self.useless = counter("useless", "Messages that were not stored when they came, by reason.", "reason")
        self.durable_bytes = counter("durable_bytes", "Payload bytes that are synced, or were cut back.")
        self.durable_numbers = counter("durable_numbers", "Event numbers that watermarks advanced by.")
        self.lost_numbers = counter(
            "lost_numbers", "Event numbers that were durable and cannot be opened any more: removed or cut by hand."
        )
        self.storage_errors = counter("storage_errors", "Times that a producer's disk failed.")
        self.compacted_segments = counter("compacted_segments", "Sealed segments that were rewritten into full frames.")
        self.compaction_saved_bytes = counter("compaction_saved_bytes", "Bytes that compaction gave back.")
        self.compaction_failures = counter(
            "compaction_failures", "Sealed segments that an error left as they were; the log has it."
        )
        self.partitions = gauge("partitions", "Partitions that this consumer keeps.")
        self.consumers = gauge("consumers", "Consumers that are heard of, this one included.")
        self.free_ratio = gauge("disk_free_ratio", "Free part of the disk, 0 to 1.")
        self.serving = gauge("serving", "1 while it stores, 0 while its disk is full or the log cannot be reached.")

    def cycle(self, cycle: Cycle) -> None:
        """Count a round of the writer thread."""
        for seconds in cycle.sync_seconds:
            self.sync_seconds.observe(seconds)
        self.durable_bytes.inc(sum(progress.payload_bytes for progress in cycle.progress))
