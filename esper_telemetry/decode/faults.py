"""What a reader did not get, collected in one place as sentences, so that no loss is silent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.recordfile import Damage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esper_telemetry.errors import CorruptRecordError, RecordError
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
        notes: what is worth knowing and no fault.
        damage: stretches that could not be read.
        missing: sequence numbers that were given out and have no event.
        marked: those of `missing` whose loss a file itself accounts for.
        losses: file and sentence for the gaps of each stream; in `warnings` too.
        open_ends: those sentences that report a writer which is gone without an end.
        unknown: events that the record does not explain, by the name of their type.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.damage: list[FileDamage] = []
        self.missing = 0
        self.marked = 0
        self.losses: list[tuple[str, str]] = []
        self.open_ends: list[str] = []
        self.unknown: Counter[str] = Counter()

    def warn(self, path: str, text: str) -> None:
        """Record something that a person should know."""
        self.warnings.append(f"{path}: {text}")

    def damaged(self, path: str, damage: Damage) -> None:
        """Record damage.

        Raises:
            CorruptRecordError: reading is strict.
        """
        if self.strict:
            raise damage.error(path)
        self.damage.append(FileDamage(path, damage))
        self.warn(path, str(damage))

    def unreadable(self, path: str, frame: FrameRef, error: CorruptRecordError) -> None:
        """Record a frame that could not be read.

        Raises:
            CorruptRecordError: reading is strict.
        """
        if self.strict:
            raise error
        damage = Damage(frame.offset, frame.end, error.reason, frame.first_seq, frame.last_seq)
        self.damage.append(FileDamage(path, damage))
        self.warnings.append(str(error))

    def opened(self, reader: RecordReader) -> None:
        """Record what a file states of itself before its events are read.

        Raises:
            CorruptRecordError: a part of it belongs to no segment, and reading is strict.
        """
        if reader.truncation is not None:
            self.warn(reader.path, str(reader.truncation))
        for repair in reader.repairs:
            self.warn(reader.path, repair)
        inside = {damage for segment in reader.segments for damage in segment.damage}
        for damage in reader.damage:
            if damage not in inside:
                self.damaged(reader.path, damage)

    def repeated(self, path: str, frame: FrameRef) -> None:
        """Record a frame that came before; its events are given once."""
        self.warn(path, f"the events {frame.first_seq:,} to {frame.last_seq:,} came already, and are given once")

    def gone(self, path: str, error: RecordError, numbers: tuple[int, int]) -> None:
        """Record a file that is not there any more, or holds something else, when its events are to be read."""
        first, last = numbers
        self.missing += last - first + 1
        self.warn(path, f"{error.reason}; sequence numbers {first:,} to {last:,} were in it and are missing")

    def copied(self, paths: Sequence[str]) -> None:
        """Record that files hold the same sequence numbers, the most complete one first."""
        for path in paths[1:]:
            self.warn(path, f"it is a copy of {paths[0]}, or holds events of it: what came already is given once")

    def frames(self, path: str, segment: Segment) -> Iterator[FrameRef]:
        """Yield the frames of a segment, each once, and record what is damaged or repeated between them.

        Raises:
            CorruptRecordError: something is damaged, and reading is strict.
        """
        given: set[tuple[int, int, int]] = set()
        for item in segment.items:
            if isinstance(item, Damage):
                self.damaged(path, item)
                continue
            numbers = item.first_seq, item.last_seq, item.records
            if numbers in given:
                self.repeated(path, item)
                continue
            given.add(numbers)
            yield item


class FaultReport:
    """What a reading states of its faults; a class that reads records anew at each iteration inherits it.

    Args:
        faults: what is known so far.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    @property
    def warnings(self) -> Sequence[str]:
        """What was found damaged, missing or cut off so far: one sentence each, complete after an iteration."""
        return self._faults.warnings

    @property
    def notes(self) -> Sequence[str]:
        """What is worth knowing and no fault, such as segments that retention deleted: one sentence each."""
        return self._faults.notes

    @property
    def damage(self) -> Sequence[FileDamage]:
        """Stretches that could not be read so far; empty when reading is strict, as then they are raised."""
        return self._faults.damage

    @property
    def missing(self) -> int:
        """Sequence numbers of the streams read so far that were given out and have no event, whatever the cause."""
        return self._faults.missing
