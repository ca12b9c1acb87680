"""Numbers of a recorder for Prometheus. OPERATIONS.md lists them; labels are bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.errors import MissingExtraError
from esper_telemetry.recordfile.header import writer_name

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.exposition import choose_encoder
except ImportError as error:
    raise MissingExtraError("prometheus-client", "collector") from error

from esper_telemetry.collector.metrics import SYNC_BUCKETS

if TYPE_CHECKING:
    from esper_telemetry.collector.items import Cycle

_PREFIX = "esper_recorder_"


class RecorderMetrics:
    """Everything a recorder counts.

    Attributes:
        registry: holds them all.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(_PREFIX + name, text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(_PREFIX + name, text, labels, registry=self.registry)

        self.messages = counter("messages", "Messages that came from the log, repeated ones included.")
        self.useless = counter("useless", "Messages that were not stored when they came, by reason.", "reason")
        self.durable_bytes = counter("durable_bytes", "Payload bytes that are synced, or were cut back.")
        self.durable_numbers = counter("durable_numbers", "Event numbers that watermarks advanced by.")
        self.storage_errors = counter("storage_errors", "Times that a producer's disk failed.")
        self.sync_seconds = Histogram(
            _PREFIX + "sync_seconds", "Duration of an fdatasync.", buckets=SYNC_BUCKETS, registry=self.registry
        )
        self.partitions = gauge("partitions", "Partitions that this recorder keeps.")
        self.recorders = gauge("recorders", "Recorders that are heard of, this one included.")
        self.free_ratio = gauge("disk_free_ratio", "Free part of the disk, 0 to 1.")
        self.serving = gauge("serving", "1 while it stores, 0 while its disk is full or the log cannot be reached.")
        gauge("build_info", "Always 1; the label says which software this is.", "version").labels(writer_name()).set(1)

    def cycle(self, cycle: Cycle) -> None:
        """Count a round of the writer thread."""
        for seconds in cycle.sync_seconds:
            self.sync_seconds.observe(seconds)
        self.durable_bytes.inc(sum(progress.payload_bytes for progress in cycle.progress))

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in a format that `accept` allows, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
