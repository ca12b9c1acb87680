"""Scalars into TensorBoard's event file: `<run folder>/tensorboard`, where `tensorboard --logdir runs` finds all runs.

Written by the writer of the package `tensorboard` itself, without torch or TensorFlow. Its scalars are 32-bit floats:
the record keeps the doubles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.mirrors.mirror import MirroredRun, MirroredScalar

FOLDER = "tensorboard"
_NANOS = 1_000_000_000


class TensorBoardMirror:
    """Writes an event file for each rank."""

    def open(self, run: MirroredRun) -> None:
        """Create the event file."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        self._writer: Any = EventFileWriter(str(run.folder / FOLDER / (f"rank_{run.rank}" if run.rank else "")))

    def write(self, scalars: Sequence[MirroredScalar]) -> None:
        """Append scalars, and make them visible to a TensorBoard that is open."""
        for scalar in scalars:
            value = self._summary.Value(tag=scalar.name, simple_value=scalar.value)
            at = scalar.time_unix_nano / _NANOS
            self._writer.add_event(self._event(wall_time=at, step=scalar.step, summary=self._summary(value=[value])))
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
