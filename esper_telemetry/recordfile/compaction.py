"""Compaction: a closed record file is rewritten into full frames of columns, with one header, and takes its own place.

What a reader is given stays the same: the events, their sequence numbers, times, types, contexts and payloads byte for
byte; the ranges of numbers that were dropped or are marked as lost; who wrote the file and its id. The new file is
made beside the old one under a name that no reader takes for a record, forced to the disk, read back, compared, and
then renamed. Killed at any moment, either the old file or the new one has the name; what is left beside it is removed
by the next compaction in that folder. A damaged or unfinished file stays as it is, and so does one that somebody
changed meanwhile. It never raises because of what a file holds; one thread a file.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import RecordError, SinkError
from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.recordfile.facts import frame_facts
from esper_telemetry.recordfile.frame import FrameEncoder
from esper_telemetry.recordfile.frame_events import content_columns, event_columns, frame_content
from esper_telemetry.recordfile.full_frames import FullFrames, Messages, groups_of
from esper_telemetry.recordfile.header import pack_header
from esper_telemetry.recordfile.joined_header import joined_header
from esper_telemetry.recordfile.keep import UNVERIFIED
from esper_telemetry.recordfile.lock import is_locked
from esper_telemetry.recordfile.paths import SUFFIX
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.reader import RecordReader
from esper_telemetry.recordfile.same_content import Content
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import find_pieces
from esper_telemetry.recordfile.writer import RecordBuilder
from esper_telemetry.schema.descriptors import SchemaPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esper_telemetry.recordfile.index import FrameRef
    from esper_telemetry.recordfile.segment import Segment
    from esper_telemetry.recordfile.time_limit import TimeLimit

# Its name is hidden and has not the ending of a record: no reader, listing or follower looks at it.
_LEFT = ".compacting"
LEVEL = 19
# Of its bytes, those of its headers left aside, a file has to give back so many, or it is not worth that its frames
# change. Headers stay as long as they are: of a short run they are most of the file.
LEAST_SAVED = 1 / 3
# Frames of so many bytes in the file give back less than that: of 3.7 KB each, 26,666 events gave back a tenth.
_FULL_BYTES = 8 * 1024
# Where time is limited, how fast it goes is judged after so much processor time; all of it takes so much longer than
# reading the file.
_TRIAL_S = 0.15
_WHOLE = 1.3


@dataclass(frozen=True, slots=True)
class Compaction:
    """What became of a file.

    Attributes:
        path: the file.
        before: its bytes before.
        after: its bytes now; with `dry_run`, those it would have.
        frames: data frames before and now.
        events: events in it.
        kept: why it is as it was; empty where it was replaced.
        damaged: it is no record, or one that is damaged: nothing can be said for it.
        failed: the disk, or the rights of this process, did not let the new file be written.
    """

    path: Path
    before: int = 0
    after: int = 0
    frames: tuple[int, int] = (0, 0)
    events: int = 0
    kept: str = ""
    damaged: bool = False
    failed: bool = False

    @property
    def saved(self) -> int:
        """Bytes that were given back."""
        return self.before - self.after


class Rewritten(NamedTuple):
    """A file that was rewritten beside itself, read back and found the same, and has not taken its place yet.

    Plain data: it may travel to the process that owns the file.

    Attributes:
        path: the file.
        temporary: the new one, forced to the disk.
        stamp: which file was read: device, inode, bytes, time of its last change in nanoseconds.
        done: what became of it once it is replaced.
    """

    path: Path
    temporary: Path
    stamp: tuple[int, int, int, int]
    done: Compaction

    def replace(self) -> Compaction:
        """Let the new file take the place of the old one, and make that durable.

        A file that is not the one that was read, or that is being written, stays, and the new one is removed.
        """
        try:
            if _stamp(self.path) != self.stamp or is_locked(self.path):
                return self.discard("it was changed meanwhile")
            self.temporary.replace(self.path)
        except OSError as error:
            return replace(self.discard(f"it cannot be replaced: {error.strerror}"), failed=True)
        # The name leads to the one or the other whatever happens now: a power cut costs what was saved at most.
        with contextlib.suppress(SinkError):
            sync_folder(self.path.parent, required=False)
        return self.done

    def discard(self, why: str) -> Compaction:
        """Remove the new file; the old one stays, for the reason given."""
        with contextlib.suppress(OSError):
            self.temporary.unlink()
        return _kept(self.path, self.done.before, why)


def compact_file(
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    dry_run: bool = False,
    limit: TimeLimit | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Compaction:
    """Rewrite a closed record file into full frames if that saves a third of it, its headers left aside.

    Args:
        path: the file; of a link, what it leads to.
        force: also where less is saved, but never where nothing is.
        dry_run: find out what would be saved; the file stays.
        limit: where it is over, or will be before the end, the work is given up; looked at between frames.
        progress: called with bytes done and bytes there are.

    Returns:
        What was saved, or why the file is as it was. Nothing is raised because of the file or its disk.
    """
    place = Path(os.path.realpath(path))  # Path.resolve raises for a link that leads to itself
    found = rewrite(place, force=force, limit=limit, progress=progress)
    if isinstance(found, Compaction):
        return found
    if dry_run:
        found.discard("")
        return found.done
    return found.replace()


def rewrite(
    path: Path,
    *,
    force: bool = False,
    limit: TimeLimit | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Rewritten | Compaction:
    """Rewrite a file beside itself; arguments and rules as of `compact_file`.

    Returns:
        What may take its place, or why there is nothing.
    """
    remove_left(path.parent)
    before = 0
    try:
        stamp = _stamp(path)
        before = stamp[2]
        source = FileSource(path)
        with contextlib.closing(source):
            strange = any(piece.kind is Kind.OTHER for piece in find_pieces(source))
            reader = RecordReader(source)
            why = "it holds pieces of a later version" if strange else _objection(reader, force=force)
            if why:
                return _kept(path, before, why, damaged=bool(reader.damage or reader.repairs or reader.truncation))
            return _Rewriting(path, reader, stamp, limit, progress).run(force=force)
    except RecordError as error:
        return _kept(path, before, f"it cannot be read: {error}", damaged=True)
    except OSError as error:
        return _kept(path, before, f"it cannot be read: {error.strerror}", damaged=True)
    except SinkError as error:
        return _kept(path, before, str(error), failed=True)
    except _GivenUp as error:
        return _kept(path, before, str(error))


def remove_left(folder: Path) -> None:
    """Remove what compactions have left in a folder that were killed; of those at work it is locked."""
    with contextlib.suppress(OSError):
        for left in folder.glob(f".*{_LEFT}"):
            with contextlib.suppress(OSError):
                if not is_locked(left):
                    left.unlink()


class _GivenUp(Exception):  # noqa: N818 - no error: the file stays as it was
    """Why a file stays as it was."""


def _kept(path: Path, before: int, why: str, *, damaged: bool = False, failed: bool = False) -> Compaction:
    return Compaction(path, before, before, kept=why, damaged=damaged, failed=failed)


def _stamp(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _objection(reader: RecordReader, *, force: bool) -> str:
    """Return why a file is not to be rewritten; empty if it may be."""
    if reader.damage or reader.repairs:
        fault = str(reader.damage[0]) if reader.damage else reader.repairs[0]
        return f"it is damaged: {fault}; run esper-telemetry recover"
    if not reader.closed:
        return "it is not closed: its writer goes on, or was killed; esper-telemetry recover closes a copy"
    if any(UNVERIFIED in segment.header.attributes for segment in reader.segments):
        return "it holds events that are marked as unverified, frame by frame"
    if not reader.records:
        return "it holds no event"
    frames = list(reader.frames())
    if not force and sum(frame.compressed_size for frame in frames) >= _FULL_BYTES * len(frames):
        return "its frames are full"
    return ""


class _Rewriting:
    """One file on its way into another one."""

    def __init__(
        self,
        path: Path,
        reader: RecordReader,
        stamp: tuple[int, int, int, int],
        limit: TimeLimit | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._path = path
        self._reader = reader
        self._stamp = stamp
        self._limit = limit
        self._progress = progress or (lambda _done, _total: None)
        self._encode = FrameEncoder(LEVEL).encode
        self._frames = self._headers = 0
        self._began = (limit.spent_s(), limit.used()) if limit is not None else (0.0, 0.0)

    def run(self, *, force: bool) -> Rewritten:
        reader, before = self._reader, self._stamp[2]
        name = f".{self._path.name.removesuffix(SUFFIX)}-{os.getpid():x}{os.urandom(4).hex()}{_LEFT}"
        temporary = self._path.with_name(name)
        with RecordBuilder(temporary) as builder:
            given = Content()
            for segment in reader.segments:
                self._segment(builder, segment, given)
            builder.sync()
            after = builder.size
            if after >= before or (not force and before - after < LEAST_SAVED * (before - self._headers)):
                raise _GivenUp(f"it would take {after:,} of its {before:,} bytes")
            self._check(temporary, given)
            _take_over(self._path, temporary)
        frames = (sum(1 for _ in reader.frames()), self._frames)
        done = Compaction(self._path, before, after, frames, reader.records)
        return Rewritten(self._path, temporary, self._stamp, done)

    def _segment(self, builder: RecordBuilder, segment: Segment, given: Content) -> None:
        builder.start_segment(previous_last_seq=segment.header.previous_last_seq)
        pool = SchemaPool()
        for serialized in segment.descriptor_sets:
            pool.add(serialized)
        header = joined_header(segment, pool)
        packed = pack_header(header)
        builder.add_header(packed.data, packed.desc, packed.parity)
        self._headers += len(packed.data) + len(packed.parity)
        given.segment(segment)
        full = FullFrames(builder, self._encode)
        messages = Messages(pool, segment.types)
        for item in _in_order(segment):
            self._look_at_the_clock(_WHOLE if isinstance(item, layout.Skip) else item.offset / self._stamp[2])
            if isinstance(item, layout.Skip):
                full.flush()
                builder.add_skip(item)
                continue
            raw = self._reader.decompress(item)
            content = frame_content(raw, item)
            given.events(content_columns(content))
            groups = groups_of(content, raw, messages)
            if groups is None:
                full.copy(self._reader.read_raw(item), item.descriptor, frame_facts(raw).type_counts)
            else:
                full.add(partial(self._reader.read_raw, item), item.descriptor, groups)
            self._progress(item.end, 2 * self._stamp[2])
        full.flush()
        builder.finish_segment()

    def _check(self, temporary: Path, given: Content) -> None:
        """Read the new file back: it holds what the old one does, or it is not to be used."""
        found = Content()
        with RecordReader(temporary) as reader:
            if reader.damage or reader.repairs or not reader.closed:
                raise _GivenUp("the new file is damaged: the disk may be failing")
            for segment in reader.segments:
                found.segment(segment)
                for frame in segment.frames:
                    self._look_at_the_clock(_WHOLE)
                    found.events(event_columns(reader.decompress(frame), frame))
                    self._frames += 1
                    self._progress(self._stamp[2] + frame.end, 2 * self._stamp[2])
        if found != given:
            raise _GivenUp("the new file would not read the same")

    def _look_at_the_clock(self, done: float) -> None:
        """Give up where there is no time left, or will be none.

        Args:
            done: part of the file that was read, 0 to 1.
        """
        if self._limit is None:
            return
        spent_s, used = self._began
        now = self._limit.used()
        judged = self._limit.spent_s() - spent_s > _TRIAL_S
        if now >= 1 or (judged and (now - used) * _WHOLE > done * (1 - used)):
            raise _GivenUp("there was no time left")


def _take_over(path: Path, temporary: Path) -> None:
    """Give the new file what the old one has beside its content: whose it is, who may read it, and its age."""
    found = path.stat()
    made = temporary.stat()
    if (found.st_uid, found.st_gid) != (made.st_uid, made.st_gid):
        try:
            os.chown(temporary, found.st_uid, found.st_gid)
        except OSError as error:
            raise _GivenUp(f"it is another user's, and would become this one's ({error.strerror})") from None
    temporary.chmod(found.st_mode & 0o7777)
    os.utime(temporary, ns=(found.st_atime_ns, found.st_mtime_ns))


def _in_order(segment: Segment) -> Iterator[FrameRef | layout.Skip]:
    """Yield frames and skip markers of a segment by their sequence numbers."""
    items: list[FrameRef | layout.Skip] = [*segment.frames, *segment.skips]
    yield from sorted(items, key=lambda item: item.first_seq)
