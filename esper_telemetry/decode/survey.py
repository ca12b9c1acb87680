"""Opens every file of a record once and returns what it holds; what cannot be read is passed over, with its reason.

Few facts of each segment stay in memory, and no file stays open: a record may be thousands of files.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.decode.inputs import record_files
from esper_telemetry.decode.streams import SegmentPlace, in_order, shared_ranks
from esper_telemetry.errors import CorruptRecordError, RecordError
from esper_telemetry.recordfile import PassedOver, RecordReader
from esper_telemetry.recordfile.lock import is_locked
from esper_telemetry.recordfile.run_folder import nothing_to_read
from esper_telemetry.recordfile.spare import find_spare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from esper_telemetry.decode.inputs import RecordFiles, RecordPath
    from esper_telemetry.recordfile.spare import Spare


@dataclass(frozen=True, slots=True)
class Survey:
    """What files hold.

    Attributes:
        files: those that can be read.
        places: their segments in the order of streams and segments; of the same ones, as they were given.
        passed_over: those that cannot be read, and why.
        schemas: descriptor sets and full names of the types, as the segments declare them; equal ones once.
        notes: a sentence for each file whose writer has it open and has written nothing yet, and for each rank that
            several processes had at once.
    """

    files: tuple[Path, ...]
    places: tuple[SegmentPlace, ...]
    passed_over: tuple[PassedOver, ...] = ()
    schemas: tuple[tuple[tuple[bytes, ...], tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """What was passed over, one sentence for each file."""
        return [str(one) for one in self.passed_over]


def survey(path: RecordPath | Iterable[RecordPath] | RecordFiles | Survey | None) -> Survey:
    """Return what the files that `path` means hold.

    Args:
        path: as for `read`, or what `record_files` or this function returned.

    Raises:
        NotARecordError: nothing is there, or nothing of it can be read.
        RecordError: the only file, named by itself, is no record or cannot be opened.
    """
    if isinstance(path, Survey):
        return path
    found = record_files(path)
    surveyor = _Surveyor(found)
    surveyor.look()
    if found.files and not surveyor.places and not surveyor.notes:
        raise nothing_to_read(surveyor.passed_over)
    return Survey(
        tuple(dict.fromkeys(place.path for place in surveyor.places)),
        tuple(in_order(surveyor.places)),
        tuple(surveyor.passed_over),
        tuple(surveyor.schemas),
        (*surveyor.notes, *shared_ranks(surveyor.places)),
    )


def _is_begun(path: Path) -> bool:
    """Tell whether a file is as its writer makes it: locked, and empty until the header is written by one call."""
    try:
        found = path.stat()
        return stat.S_ISREG(found.st_mode) and found.st_size == 0 and is_locked(path)
    except OSError:  # gone meanwhile, or in no file system
        return False


class _Surveyor:
    def __init__(self, found: RecordFiles) -> None:
        self._found = found
        self.places: list[SegmentPlace] = []
        self.passed_over = list(found.passed_over)
        self.schemas: dict[tuple[tuple[bytes, ...], tuple[str, ...]], None] = {}
        self.notes: list[str] = []

    def look(self) -> None:
        """Look into every file; those that have lost their header again, once their siblings are known."""
        refused: list[Path] = []
        for path in self._found.files:
            try:
                self.places += self._segments(path)
            except CorruptRecordError:
                refused.append(path)
            except RecordError as error:
                self._pass_over(path, error)
        for path in refused:
            try:
                self.places += self._segments(path, find_spare(path))
            except RecordError as error:
                self._pass_over(path, error)

    def _pass_over(self, path: Path, error: RecordError) -> None:
        if _is_begun(path):
            self.notes.append(f"{path}: its writer has just begun, it holds no event yet")
            return
        if self._found.alone:
            raise error
        self.passed_over.append(PassedOver(path, error.reason))

    def _segments(self, path: Path, spare: Spare | None = None) -> Iterator[SegmentPlace]:
        with RecordReader(path, spare=spare and spare.header) as reader:
            if spare is None and any(segment.lacks_types for segment in reader.segments):
                spare = find_spare(path)
                if spare is not None:
                    yield from self._segments(path, spare)
                    return
            for number, segment in enumerate(reader.segments):
                self.schemas[tuple(segment.descriptor_sets), tuple(segment.types.values())] = None
                # They take most of the memory, and are read again with the events.
                segment.header.ClearField("file_descriptor_set")
                segment.header.ClearField("types")
                yield SegmentPlace(
                    path,
                    number,
                    segment.header,
                    segment.records,
                    segment.last_seq,
                    min((frame.min_time for frame in segment.frames), default=0),
                    intact=not segment.damage and reader.truncation is None,
                    in_folder=path.parent in self._found.folders,
                    spare=spare and spare.header,
                    last_time=max((frame.max_time for frame in segment.frames), default=0),
                )
