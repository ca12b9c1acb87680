"""Reads a record while it is being written: every whole frame once, in order, over rotation.

A frame counts when its descriptor stands behind it. A segment is done at its seek
table; the writer opens the next one before that, so a footer without a successor ends the
stream. So does a writer that is gone. `poll` never waits; `follow` does.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile.damage import Damage, Truncation
from esper_telemetry.recordfile.facts import parse_frame
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.lock import writer_gone
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName
from esper_telemetry.recordfile.piece import Kind, Piece, piece_at
from esper_telemetry.recordfile.reader import check_prologue
from esper_telemetry.recordfile.scan import scan
from esper_telemetry.recordfile.segment import Assembler, Segment
from esper_telemetry.recordfile.source import FileSource

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from esper_telemetry.recordfile.index import FrameRef
    from esper_telemetry.v1 import record_pb2

_CHUNK_BYTES = 1 << 20
# A look gives about so much, before compression: who starts at the beginning of a long record does not get it whole.
_LOOK_BYTES = 1 << 20
# So often nothing valid may stand where the next piece belongs before it is damage: a read may meet a write.
_PATIENCE = 20
# A quiet file is asked for its writer's lock at every so many polls only.
_LOCK_EVERY = 10


class Followed(NamedTuple):
    """A frame that has been written, or damage that was met.

    Attributes:
        path: the file.
        segment: the segment it belongs to, as far as it is known: header and types hold for this frame.
        frame: the frame; None for damage.
        events: its events, verified.
        damage: what could not be read, or None.
        truncation: how the file of a writer that is gone is cut, or None; the last thing of a stream.
    """

    path: Path
    segment: Segment
    frame: FrameRef | None
    events: list[record_pb2.Event]
    damage: Damage | None = None
    truncation: Truncation | None = None


class StreamFollower:
    """Follows one writer, from a segment to those after it.

    Args:
        path: the segment to start with.

    Raises:
        NotARecordError: it is something else.
        RecordError: it cannot be opened.

    Attributes:
        path: the segment at hand.
        finished: the stream is over: a footer without a next segment, or a writer that is gone.
        cut: the stream ended without a footer.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.finished = False
        self.cut = False
        self._decoder = FrameDecoder()
        self._open(Path(path))

    def _open(self, path: Path) -> None:
        self.path = path
        self._source = FileSource(path)
        if self._source.size:
            check_prologue(self._source)
        self._assembler = Assembler(self._source, self._decoder)
        self._at = 0
        self._ends = [0]
        self._buffer = b""
        self._quiet = 0
        self._refused = 0
        self._closed = False
        self._gone = False
        self._said = False
        self._frames = self._events = 0
        self._segment = Segment(0, 0, 0)

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
        return found + self._cut_end()

    def _cut_end(self) -> list[Followed]:
        """Return how the file ends, once, if it ends inside a frame."""
        size = self._source.size if self.finished and not self._said else self._at
        if size <= self._at:
            return []
        self._said = True
        truncation = Truncation(self._frames + 1, self._at, size, self._events)
        return [Followed(self.path, self._segment, None, [], None, truncation)]

    def _next_piece(self) -> Piece | None:
        """Return the whole piece at the present place, or None when there is none yet."""
        size = self._source.size
        if size < self._at:  # the writer cut back a write that failed
            self._at = max(end for end in self._ends if end <= size)
            self._buffer = b""
        while True:
            try:
                piece = piece_at(self._buffer, 0, self._at) if self._buffer else None
            except (CorruptRecordError, UnsupportedRecordError):
                self._buffer = b""
                self._refused += 1
                return self._resync() if self._gone or self._refused > _PATIENCE else None
            if piece is not None:
                return piece
            wanted = len(self._buffer) + _CHUNK_BYTES
            more = self._source.read_at(self._at, wanted)
            if len(more) <= len(self._buffer):
                return None
            self._buffer = more

    def _resync(self) -> Piece | None:
        """Return the damage at the present place, once something valid stands behind it or nothing more will come."""
        pieces = scan(self._source, self._at)
        first = next(pieces, None)
        return first if self._gone or next(pieces, None) is not None else None

    def _take(self, piece: Piece) -> Iterator[Followed]:
        self._buffer = self._buffer[piece.end - self._at :] if piece.end - self._at <= len(self._buffer) else b""
        self._at = piece.end
        self._ends = [*self._ends[-8:], piece.end]
        self._quiet = self._refused = 0
        self._gone = False
        before = len(self._assembler.damage)
        segment = self._assembler.add(piece)
        self._closed = piece.kind is Kind.SEEK_TABLE
        self._segment = segment or self._segment
        yield from (Followed(self.path, self._segment, None, [], damage) for damage in self._assembler.damage[before:])
        if segment is None:
            return
        while segment.items:
            item = segment.items.pop(0)
            if isinstance(item, Damage):
                yield Followed(self.path, segment, None, [], item)
            else:
                yield self._frame(segment, item)

    def _frame(self, segment: Segment, frame: FrameRef) -> Followed:
        self._frames += 1
        self._events += frame.records
        data = self._source.read_at(frame.offset, frame.compressed_size)
        try:
            events = parse_frame(self._decoder.decode(data, frame.raw_size), frame.records)
        except (CorruptRecordError, UnsupportedRecordError) as error:
            damage = Damage(frame.offset, frame.end, str(error), frame.first_seq, frame.last_seq)
            return Followed(self.path, segment, None, [], damage)
        return Followed(self.path, segment, frame, events)

    def _move_on(self) -> bool:
        """Go to the next segment if this one is done; return whether there may be more to read now."""
        if not self._closed and not self._gone:
            self._quiet += 1
            # What it wrote between the last read and its end is read once more.
            self._gone = self._quiet % _LOCK_EVERY == 0 and self._writer_gone()
            return self._gone
        following = next_segment(self.path)
        if following is None:
            self.finished = True
            self.cut = not self._closed
            return False
        self._source.close()
        self._open(following)
        return True

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
    """The streams of a run folder, or the one of a file."""

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else None
        self._followers: dict[object, StreamFollower] = {}
        if self._folder is None:
            self._followers[path] = StreamFollower(path)

    @property
    def finished(self) -> bool:
        return bool(self._followers) and all(follower.finished for follower in self._followers.values())

    def poll(self) -> list[Followed]:
        if self._folder is not None:
            for first in _first_segments(self._folder):
                key = SegmentName.parse(first)
                if key not in self._followers:
                    self._followers[key] = StreamFollower(first)
        return [followed for follower in self._followers.values() for followed in follower.poll()]

    def close(self) -> None:
        for follower in self._followers.values():
            follower.close()


def _first_segments(folder: Path) -> list[Path]:
    """Return the oldest segment of each stream in a run folder."""
    first: list[tuple[SegmentName, Path]] = []
    named = [(name, path) for path in folder.glob("*" + SUFFIX) if (name := SegmentName.parse(path)) is not None]
    for name, path in sorted(named):
        if not first or not first[-1][0].same_stream(name):
            first.append((name, path))
    return [path for _, path in first]


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
