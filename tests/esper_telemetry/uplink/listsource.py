"""A spool in memory, for tests of what is pure."""

from __future__ import annotations

from esper_telemetry.recordfile import Skip, SkipReason
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.uplink.segment_frames import Frame, StreamSchema
from esper_telemetry.v1 import collector_pb2, record_pb2

FINISHED = collector_pb2.CLOSE_OUTCOME_FINISHED


def schema(number: int) -> StreamSchema:
    return StreamSchema(bytes([number]) * 32, record_pb2.Header(run_id="run", producer_id=b"p" * 16))


class ListSource:
    """Frames in memory; everything else as a Spool does it."""

    header = record_pb2.Header(run_id="run", producer_id=b"p" * 16, writer="test", rank=3)
    first_seq = 1

    def __init__(self) -> None:
        self.items: list[Frame | Skip] = []
        self.over = False
        self._next = 1
        self.written = 0

    def write(self, count: int, size: int = 100, number: int = 1) -> None:
        first, self.written = self.written + 1, self.written + count
        desc = Descriptor(size, size * 3, count, 1, first, self.written, first, self.written)
        self.items.append(Frame(desc, bytes([first % 256]) * size, schema(number)))

    def lose(self, count: int) -> None:
        self.items.append(Skip(self.written + 1, self.written + count, SkipReason.CORRUPT))
        self.written += count

    @property
    def schema(self) -> StreamSchema:
        frames = [item for item in self.items if isinstance(item, Frame) and item.last_seq >= self._next]
        return frames[0].schema if frames else schema(1)

    @property
    def final_seq(self) -> int:
        return self._next - 1

    @property
    def outcome(self) -> int | None:
        return FINISHED if self.over and self._next > self.written else None

    def seek(self, seq: int) -> None:
        self._next = seq

    def read(self) -> Frame | Skip | None:
        for item in self.items:
            if item.first_seq == self._next:
                self._next = item.last_seq + 1
                return item
        return None
