"""Reads a record while it is being written: every whole frame once, in order, over rotation.

A frame counts once its descriptor follows it. A segment is done at its seek
table; the writer opens the next one before that, so a footer without a successor ends the
stream. So does a writer that is gone. Sequence numbers that a segment states were before it and that did not come
are reported as damage: retention may delete faster than a follower reads. `poll` never waits; `follow` does.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError, NotARecordError, RecordError, UnsupportedRecordError
from esper_telemetry.recordfile.damage import Damage, Truncation
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.frame_events import content_envelopes, frame_content
from esper_telemetry.recordfile.lock import writer_gone
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName
from esper_telemetry.recordfile.piece import Kind, Piece
from esper_telemetry.recordfile.reader import check_prologue
from esper_telemetry.recordfile.run_folder import look_into
from esper_telemetry.recordfile.segment import Assembler, Segment
from esper_telemetry.recordfile.source import FileSource, LastRead
from esper_telemetry.recordfile.walk import GrowingWalk

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from esper_telemetry.recordfile.frame_events import Envelope, FrameContent
    from esper_telemetry.recordfile.index import FrameRef
    from esper_telemetry.v1 import record_pb2

# A poll gives about so much, before compression: a reader that starts at the beginning of a long record does not get
# all of it at once.
_LOOK_BYTES = 1 << 20
# After so many polls without a valid piece at the offset, its bytes are damage: a read may meet a write.
_PATIENCE = 20
# A quiet file is asked for its writer's lock at every so many polls only.
_LOCK_EVERY = 10


class Followed(NamedTuple):
    """A frame that has been written, or damage that was met.

    Attributes:
        path: the file.
        segment: the segment it belongs to, as far as it is known: header and types hold for this frame.
        frame: the frame; None for damage.
        content: its events as they lie there, verified; None for damage.
        damage: what could not be read, or None.
        truncation: how the file of a writer that is gone is cut, or None; the last thing of a stream.
    """

    path: Path
    segment: Segment
    frame: FrameRef | None
    content: FrameContent | None
    damage: Damage | None = None
    truncation: Truncation | None = None

    @property
    def events(self) -> Sequence[Envelope]:
        """Its events in order, made at every call; their contexts are bytes."""
        return () if self.content is None else content_envelopes(self.content)


class StreamFollower:
    """Follows one writer, from a segment to those after it.

    Args:
        path: the segment to start with.
        reached: last sequence number that was read elsewhere, by producer: what is missing after it is reported.
        spare: header to assume in this segment if its own is lost.

    Raises:
        NotARecordError: it is something else.
        RecordError: it cannot be opened.

    Attributes:
        path: the segment at hand.
        finished: the stream is over: a footer without a next segment, or a writer that is gone.
        cut: the stream ended without a footer.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        reached: Mapping[bytes, int] | None = None,
        spare: record_pb2.Header | None = None,
    ) -> None:
        self.finished = False
        self.cut = False
        self._reached = dict(reached or {})
        self._unread: list[Followed] = []
        self._decoder = FrameDecoder()
        self._open(Path(path), spare)

    def _open(self, path: Path, spare: record_pb2.Header | None = None) -> None:
        source = FileSource(path)
        try:
            if source.size:
                check_prologue(source)
        except RecordError:
            source.close()
            raise
        self.path = path
        self._source = LastRead(source)
        self._walk = GrowingWalk(self._source)
        self._assembler = Assembler(self._source, self._decoder, spare)
        self._ends = [0]
        self._quiet = 0
        self._refused = 0
        self._closed = False
        self._gone = False
        self._reported = False
        self._frames = self._events = 0
        self._segment = Segment(0, 0, 0)

    @property
    def truncated(self) -> bool:
        """Whether the file ends inside a frame, and that was reported."""
        return self._reported

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def poll(self) -> list[Followed]:
        """Return what was written since the last call, a few frames at most; nothing if there is no more yet.

        Raises:
            RecordError: the file cannot be read any more.
        """
        found: list[Followed] = []
        taken = 0
        while not self.finished and taken < _LOOK_BYTES:
            piece = self._next_piece()
            if piece is not None:
                found.extend(self._take(piece))
                taken += piece.descriptor.raw_size if piece.descriptor is not None else 0
            elif not self._move_on():
                break
        unread, self._unread = self._unread, []
        return found + unread + self._cut_end()

    def _cut_end(self) -> list[Followed]:
        """Return how the file ends, once, if it ends inside a frame."""
        at = self._walk.at
        size = self._source.size if self.finished and not self._reported else at
        if size <= at:
            return []
        self._reported = True
        truncation = Truncation(self._frames + 1, at, size, self._events)
        return [Followed(self.path, self._segment, None, None, None, truncation)]

    def _next_piece(self) -> Piece | None:
        """Return the whole piece at the present offset, or None when there is none yet."""
        size = self._source.size
        if size < self._walk.at:  # the writer cut back a write that failed
            self._walk.back_to(max(end for end in self._ends if end <= size))
        piece = self._walk.next(final=self._gone)
        if piece is None or piece.kind is not Kind.DAMAGE or self._gone:
            return piece
        self._refused += 1
        if self._refused > _PATIENCE:
            return piece
        self._walk.back_to(piece.offset)
        return None

    def _take(self, piece: Piece) -> Iterator[Followed]:
        self._ends = [*self._ends[-8:], piece.end]
        self._quiet = self._refused = 0
        self._gone = False
        before = len(self._assembler.damage)
        segment = self._assembler.add(piece)
        self._closed = piece.kind is Kind.SEEK_TABLE
        self._segment = segment or self._segment
        yield from (
            Followed(self.path, self._segment, None, None, damage) for damage in self._assembler.damage[before:]
        )
        if segment is None:
            return
        if piece.kind is Kind.HEADER and len(segment.headers) == 1:
            yield from self._gap_before(segment)
        while segment.items:
            item = segment.items.pop(0)
            if isinstance(item, Damage):
                yield Followed(self.path, segment, None, None, item)
            else:
                yield self._frame(segment, item)
        producer = segment.header.producer_id
        self._reached[producer] = max(self._reached.get(producer, 0), segment.last_seq)

    def _gap_before(self, segment: Segment) -> Iterator[Followed]:
        """Yield the sequence numbers of segments that were removed unread."""
        reached = self._reached.get(segment.header.producer_id)
        before = segment.header.previous_last_seq
        if reached is not None and before > reached:
            reason = "the segments before this one were removed before they were read"
            yield Followed(self.path, segment, None, None, Damage(0, 0, reason, reached + 1, before))

    def _frame(self, segment: Segment, frame: FrameRef) -> Followed:
        self._frames += 1
        self._events += frame.records
        data = bytes(self._source.view_at(frame.offset, frame.compressed_size))
        try:
            content = frame_content(self._decoder.decode(data, frame.raw_size), frame)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            damage = Damage(frame.offset, frame.end, str(error), frame.first_seq, frame.last_seq)
            return Followed(self.path, segment, None, None, damage)
        return Followed(self.path, segment, frame, content)

    def _move_on(self) -> bool:
        """Go to the next segment if this one is done; return whether there may be more to read now."""
        if not self._closed and not self._gone:
            self._quiet += 1
            # What it wrote between the last read and its end is read once more.
            self._gone = self._quiet % _LOCK_EVERY == 0 and self._writer_gone()
            return self._gone
        if self._open_next():
            return True
        self.finished = True
        self.cut = not self._closed
        return False

    def _open_next(self) -> bool:
        """Open the next segment that can be; one that was removed meanwhile is passed, one that is none is reported."""
        source, path = self._source, self.path
        while (following := next_segment(path)) is not None:
            try:
                self._open(following)
            except RecordError as error:
                if following.exists():
                    damage = Damage(0, 0, f"the segment cannot be read: {error}")
                    self._unread.append(Followed(following, self._segment, None, None, damage))
                path = following
            else:
                source.close()
                return True
        return False

    def _writer_gone(self) -> bool:
        try:
            return writer_gone(self.path)
        except OSError:  # removed
            return True


def follow(
    path: str | os.PathLike[str],
    *,
    poll_interval: float = 0.05,
    stop: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Followed]:
    """Yield the frames of a record, or of all streams of a run folder, as they are written.

    It ends when every stream has ended. Streams are in order each; between them frames come as they are written.

    Args:
        path: a segment (it and those after it), or a run folder (streams that appear later too).
        poll_interval: seconds between looks at files that have not grown.
        stop: asked at every look; True ends it.
        sleep: how to wait.

    Raises:
        NotARecordError: there is no such path, or it is something else.
        RecordError: a file cannot be read.
    """
    path = Path(path)
    streams = _Streams(path)
    try:
        while not stop():
            found = streams.poll()
            yield from found
            if streams.finished:
                return
            if not found:
                sleep(poll_interval)
    finally:
        streams.close()


class _Streams:
    """The streams of a run folder, or the one of a file.

    A stream is known by its producer, whose sequence numbers are given once: names of files change as old segments are
    removed, and a file may be copied.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else None
        self._followers: dict[object, StreamFollower] = {}
        self._given: dict[tuple[str, int, bytes], int] = {}
        if self._folder is None:
            self._followers[path] = StreamFollower(path)

    @property
    def finished(self) -> bool:
        return bool(self._followers) and all(follower.finished for follower in self._followers.values())

    def poll(self) -> list[Followed]:
        if self._folder is not None:
            self._start_new(self._folder)
        found = [followed for follower in self._followers.values() for followed in follower.poll()]
        return [followed for followed in found if self._is_new(followed)]

    def close(self) -> None:
        for follower in self._followers.values():
            follower.close()

    def _start_new(self, folder: Path) -> None:
        for name, path in _first_segments(folder):
            stream = replace(name, segment=0)
            if stream not in self._followers:
                with contextlib.suppress(NotARecordError):  # removed meanwhile, or no record
                    self._followers[stream] = StreamFollower(path)

    def _is_new(self, followed: Followed) -> bool:
        if followed.frame is None:
            return True
        header, last = followed.segment.header, followed.frame.last_seq
        stream = header.stream, header.rank, header.producer_id
        if last <= self._given.get(stream, 0):
            return False
        self._given[stream] = last
        return True


def _first_segments(folder: Path) -> list[tuple[SegmentName, Path]]:
    """Return the oldest segment of each stream in a run folder."""
    first: list[tuple[SegmentName, Path]] = []
    for path in look_into(folder).records:
        name = SegmentName.parse(path)
        if name is not None and not (first and first[-1][0].same_stream(name)):
            first.append((name, path))
    return first


def next_segment(path: Path) -> Path | None:
    """Return the next segment of the same stream in the folder, or None."""
    name = SegmentName.parse(path)
    if name is None:
        return None
    later = [
        (other.segment, candidate)
        for candidate in path.parent.glob("*" + SUFFIX)
        if (other := SegmentName.parse(candidate)) is not None
        and other.same_stream(name)
        and other.segment > name.segment
    ]
    return min(later)[1] if later else None
