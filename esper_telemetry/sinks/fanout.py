"""Hands every batch to several sinks, so that one of them failing does not starve the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.schema.batch import Batch
    from esper_telemetry.sinks.base import Sink


def _nothing() -> None:
    """What a sink does that keeps no files."""


class FanoutSink:
    """A sink made of sinks.

    A batch that some took and some refused may be written again: it then goes only to those that refused it.

    Args:
        sinks: where batches go, in this order.
    """

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks
        self._taken: dict[Sink, int] = {}

    def write(self, batch: Batch) -> None:
        """Write to each sink that has not taken `batch` yet; the first error is raised after all were tried."""

        def write(sink: Sink) -> None:
            if self._taken.get(sink, 0) < batch.last_seq:
                sink.write(batch)
                self._taken[sink] = batch.last_seq

        self._each(write)

    def sync(self) -> None:
        """Sync each sink; the first error is raised after all were tried."""
        self._each(lambda sink: sink.sync())

    def check(self) -> None:
        """Let each sink look after what it has written."""
        for sink in self._sinks:
            getattr(sink, "check", _nothing)()

    def close(self) -> None:
        """Close each sink; the first error is raised after all were tried."""
        self._each(lambda sink: sink.close())

    def _each(self, act: Callable[[Sink], None]) -> None:
        failed: SinkError | None = None
        for sink in self._sinks:
            try:
                act(sink)
            except SinkError as error:
                failed = failed or error
        if failed is not None:
            raise failed
