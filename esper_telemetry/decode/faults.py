"""What a reader did not get: collected in one place, said in words, so that no loss is silent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.recordfile import Damage
from esper_telemetry.recordfile.filter import FILTERED

if TYPE_CHECKING:
    from esper_telemetry.errors import CorruptRecordError
    from esper_telemetry.recordfile import FrameRef, RecordReader, Segment


class FileDamage(NamedTuple):
    """Damage and the file it was found in."""

    path: str
    damage: Damage


class Faults:
    """What is known to be damaged, missing or not understood; it grows while a record is read.

    Args:
        strict: raise damage instead of collecting it.

    Attributes:
        warnings: one sentence for each fault, with its file.
        damage: stretches that could not be read.
        missing: numbers that were given out and have no event: dropped by the writer.
        unknown: events that the record does not explain, by the name of their type.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.warnings: list[str] = []
        self.damage: list[FileDamage] = []
        self.missing = 0
        self.unknown: Counter[str] = Counter()
        self._last_seq: dict[bytes, int] = {}
        self._seen: set[tuple[bytes, int, int, int]] = set()

    def warn(self, path: str, text: str) -> None:
        """Take note of something that a person should know."""
        self.warnings.append(f"{path}: {text}")

    def damaged(self, path: str, damage: Damage) -> None:
        """Take note of damage.

        Raises:
            CorruptRecordError: reading is strict.
        """
        if self.strict:
            raise damage.error(path)
        self.damage.append(FileDamage(path, damage))
        self.warn(path, str(damage))

    def unreadable(self, path: str, frame: FrameRef, error: CorruptRecordError) -> None:
        """Take note of a frame that could not be read.

        Raises:
            CorruptRecordError: reading is strict.
        """
        if self.strict:
            raise error
        damage = Damage(frame.offset, frame.end, error.reason, frame.first_seq, frame.last_seq)
        self.damage.append(FileDamage(path, damage))
        self.warnings.append(str(error))

    def opened(self, reader: RecordReader) -> None:
        """Take note of what a file says about itself before its events are read.

        Raises:
            CorruptRecordError: a part of it belongs to no segment, and reading is strict.
        """
        if reader.truncation is not None:
            self.warn(reader.path, str(reader.truncation))
        inside = {damage for segment in reader.segments for damage in segment.damage}
        for damage in reader.damage:
            if damage not in inside:
                self.damaged(reader.path, damage)
        for segment in reader.segments:
            self._count_missing(reader.path, segment)

    def _count_missing(self, path: str, segment: Segment) -> None:
        producer, before = segment.header.producer_id, segment.header.previous_last_seq
        known = self._last_seq.get(producer, before)
        if before > known:
            self.missing += before - known
            self.warn(path, f"numbers {known + 1:,} to {before:,} are missing: the segment before lost them")
        self._last_seq[producer] = max(known, segment.last_seq)
        missing = dropped_numbers(segment)
        if missing:
            self.missing += missing
            self.warn(path, f"{missing:,} numbers have no event: dropped by the writer")
        for skip in segment.skips:
            self.missing += skip.last_seq - skip.first_seq + 1
            self.warn(path, f"numbers {skip.first_seq:,} to {skip.last_seq:,} are marked as lost")

    def is_copy(self, path: str, producer_id: bytes, frame: FrameRef) -> bool:
        """Tell whether the same frame was read before, from a copy of the file; say so once for each frame."""
        key = (producer_id, frame.first_seq, frame.last_seq, frame.records)
        if key not in self._seen:
            self._seen.add(key)
            return False
        self.warn(path, f"the events {frame.first_seq:,} to {frame.last_seq:,} came already, and are given once")
        return True


def dropped_numbers(segment: Segment) -> int:
    """Return how many numbers inside the frames of a segment have no event because its writer dropped it."""
    if FILTERED in segment.header.attributes:  # left out on purpose
        return 0
    return sum(frame.last_seq - frame.first_seq + 1 - frame.records for frame in segment.frames)
