"""A run folder: the records in it and what only looks like one, its streams, and the retention of old segments.

Files are judged by name and kind alone where they are listed; what a file holds, its reader finds out, and nothing is
passed over without a reason. Of each stream the first header is read, nothing else. Retention deletes closed segments
only, oldest first, never the last one of a stream: a segment without a footer is being written, or is all that a killed
process left.
"""

from __future__ import annotations

import contextlib
import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError, NotARecordError, RecordError, UnsupportedRecordError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.header import parse_header_frame
from esper_telemetry.recordfile.lock import is_locked
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.reader import check_prologue
from esper_telemetry.recordfile.remote import url_of
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import read_footer, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esper_telemetry.v1 import record_pb2

# What NFS leaves of a file that was removed while a process had it open.
_NFS_REMOVED = ".nfs"
# Attribute of a header: the bytes that its writer keeps. It distinguishes deleted segments from lost ones.
KEEP_BYTES = "esper_telemetry.keep_bytes"


class PassedOver(NamedTuple):
    """A file that was not read, and why.

    Attributes:
        path: the file.
        reason: why.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{url_of(self.path) or self.path}: passed over: {self.reason}"


class FolderContents(NamedTuple):
    """What is in a folder.

    Attributes:
        records: files that may be records, in the order of streams and segments.
        passed_over: those that are named like one and are none.
    """

    records: list[Path]
    passed_over: list[PassedOver]


def look_into(folder: Path) -> FolderContents:
    """Return what is in a folder.

    Raises:
        NotARecordError: it cannot be listed.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are wanted, of a thousand segments
    except OSError as error:
        raise NotARecordError(
            f"the folder cannot be listed: {error.strerror}; check permissions", path=str(folder)
        ) from error
    found = FolderContents([], [])
    for name in names:
        if SUFFIX not in name and not name.startswith(_NFS_REMOVED):
            continue  # not named like a record
        reason = objection(folder / name)
        if reason:
            found.passed_over.append(PassedOver(folder / name, reason))
        else:
            found.records.append(folder / name)
    found.records.sort(key=segment_order)
    found.passed_over.sort()
    return found


def list_run(path: str | Path) -> list[Path]:
    """Return the record files that `path` means: itself, or the segments in a run folder, in order.

    Raises:
        NotARecordError: there is no such path, or the folder holds no record.
    """
    path = Path(path)
    if not path.is_dir():
        if not os.path.lexists(path):
            raise NotARecordError("there is no such file or folder; check the path", path=str(path))
        return [path]
    found = look_into(path).records
    if not found:
        raise no_record_in(path)
    return found


def no_record_in(folder: Path) -> NotARecordError:
    """Return the error for a folder that holds no record."""
    inside = sorted({segment.parent.name for segment in folder.glob("*/*" + SUFFIX)})
    hint = f"it has run folders: {', '.join(inside[:5])}; pass one of them" if inside else "check the path"
    return NotARecordError(f"the folder holds no {SUFFIX} file; {hint}", path=str(folder))


def nothing_to_read(passed_over: Iterable[PassedOver]) -> NotARecordError:
    """Return the error for files none of which can be read."""
    first, *others = passed_over
    more = f" ({len(others):,} more were passed over)" if others else ""
    shown = url_of(first.path) or str(first.path)
    return NotARecordError(f"{first.reason}; nothing else is there to read{more}", path=shown)


def objection(path: Path) -> str:
    """Return why a file that was found, and not named by a caller, cannot be a record; empty if it may be one."""
    by_name = _by_name(path.name)
    if by_name or path.is_file():
        return by_name
    if path.exists():
        return "it is a folder, a pipe or a device, not a file"
    return "it is a link to nothing" if path.is_symlink() else "it was removed meanwhile"


def _by_name(name: str) -> str:
    if name.startswith(_NFS_REMOVED):
        return "it was removed while a process had it open"
    if name.startswith("."):
        return "it is hidden: metadata of another system, or a copy that is not complete"
    if SUFFIX in name and not name.endswith(SUFFIX):
        return f"its name goes on after {SUFFIX}: a copy that is not complete, or a backup"
    return ""


def segment_order(path: Path) -> tuple[int, SegmentName | None, str]:
    """Return what files are sorted by: streams and segments, then what is named otherwise."""
    name = SegmentName.parse(path)
    return (0, name, "") if name is not None else (1, None, path.name)


# --- streams ----------------------------------------------------------------------------------------------------------


class RunStream(NamedTuple):
    """A stream of a run.

    Attributes:
        header: the first header of its first segment that is here.
        writing: a process holds the lock of its last segment.
    """

    header: record_pb2.Header
    writing: bool

    @property
    def attempt(self) -> int:
        """The attempt it belongs to, from 1."""
        return self.header.attempt or 1


def list_streams(folder: Path) -> list[RunStream]:
    """Return the streams in a run folder; none if there is no such folder."""
    found = []
    for paths in _by_stream(folder):
        with contextlib.suppress(RecordError, OSError):
            found.append(RunStream(first_header(paths[0]), is_locked(paths[-1])))
    return found


def first_header(path: Path) -> record_pb2.Header:
    """Return the first header of a file.

    Raises:
        RecordError: it cannot be opened, is no record, or its header is not whole.
    """
    source = FileSource(path)
    try:
        check_prologue(source)
        end = layout.PROLOGUE_BYTES + layout.MAX_HEADER_BYTES + layout.DESCRIPTOR_BYTES
        piece = next(walk(source, layout.PROLOGUE_BYTES, end=end), None)
        if piece is None or piece.kind is not Kind.HEADER or piece.descriptor is None:
            raise CorruptRecordError("its first header is not whole", path=str(path), offset=layout.PROLOGUE_BYTES)
        frame = source.read_at(piece.offset, piece.descriptor.compressed_size)
    finally:
        source.close()
    return parse_header_frame(FrameDecoder().decode(frame, piece.descriptor.raw_size))


def _by_stream(folder: Path) -> Iterator[list[Path]]:
    """Yield the files of each stream in the order of its segments; a file that is not named like one is alone."""
    names = [(SegmentName.parse(path), path) for path in sorted(folder.glob("*" + SUFFIX))]
    yield from ([path] for name, path in names if name is None)
    named = sorted((name, path) for name, path in names if name is not None)
    for _, group in groupby(named, key=lambda item: (item[0].stream, item[0].rank, item[0].started, item[0].boot)):
        yield [path for _, path in group]


# --- retention --------------------------------------------------------------------------------------------------------


def prune(folder: Path, keep_bytes: int, *, stream: SegmentName | None = None) -> list[Path]:
    """Delete the oldest closed segments until the rest takes at most `keep_bytes`; return the deleted ones.

    Args:
        folder: a run folder.
        keep_bytes: what may stay. Segments that must not be deleted count, and may take more.
        stream: look at segments of the stream of this name only.
    """
    named = [(name, path) for path in folder.glob("*" + SUFFIX) if (name := SegmentName.parse(path)) is not None]
    named = sorted((name, path) for name, path in named if stream is None or stream.same_stream(name))
    sizes = {path: path.stat().st_size for _, path in named}
    total = sum(sizes.values())
    oldest_first = sorted(named, key=lambda item: (item[0].segment, item[0]))
    gone: list[Path] = []
    for name, path in oldest_first:
        if total <= keep_bytes:
            break
        last = max(other.segment for other, _ in named if other.same_stream(name))
        if name.segment == last or not is_closed(path):
            continue
        with contextlib.suppress(OSError):
            path.unlink()
            total -= sizes[path]
            gone.append(path)
    return gone


def is_closed(path: Path) -> bool:
    """Tell whether a file ends in a footer that may be trusted.

    Raises:
        RecordError: it cannot be opened or read.
    """
    source = FileSource(path)
    try:
        return read_footer(source, source.size).start >= 0
    except (CorruptRecordError, UnsupportedRecordError):
        return False
    finally:
        source.close()
