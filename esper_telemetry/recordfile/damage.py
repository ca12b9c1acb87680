"""What is wrong with a record, in the same words everywhere: damage inside it, and a torn tail."""

from __future__ import annotations

from dataclasses import dataclass

from esper_telemetry.errors import CorruptRecordError


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a file that cannot be read, or sequence numbers that do not follow each other.

    Attributes:
        offset: first byte concerned.
        end: first byte after it; equal to `offset` where nothing but the order is wrong.
        reason: what is wrong.
        first_seq: first sequence number lost by it; None where nothing is known to be lost.
        last_seq: last sequence number lost by it.
    """

    offset: int
    end: int
    reason: str
    first_seq: int | None = None
    last_seq: int | None = None

    def __str__(self) -> str:
        """Return what is wrong, where, and what it costs."""
        size = self.end - self.offset
        place = f"bytes {self.offset:,} to {self.end:,} cannot be read: " if size else ""
        return f"{place}{self.reason}{self._cost()}"

    def _cost(self) -> str:
        if self.first_seq is None or self.last_seq is None:
            return ""
        if self.first_seq == self.last_seq:
            return f"; sequence number {self.first_seq:,} is lost"
        return f"; sequence numbers {self.first_seq:,} to {self.last_seq:,} are lost"

    def error(self, path: str) -> CorruptRecordError:
        """Return the error for a reader that stops here."""
        return CorruptRecordError(f"{self}; run esper-telemetry recover", path=path, offset=self.offset)


@dataclass(frozen=True, slots=True)
class Truncation:
    """The torn tail of a file.

    Attributes:
        frame: number of the frame the file ends in, from 1.
        start: where that frame starts.
        offset: where the file ends.
        events: events in the frames before it.
    """

    frame: int
    start: int
    offset: int
    events: int

    def __str__(self) -> str:
        """Return the one wording for a torn tail."""
        place = f"file ends inside frame {self.frame:,} at byte {self.offset:,}"
        return f"{place}; {self.events:,} events before it are intact"
