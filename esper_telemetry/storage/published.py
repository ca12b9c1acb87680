"""A segment as far as it is durable, and how it is cut back after another consumer took its producer over.

A consumer that dies between syncing frames and moving its watermark leaves frames that were never acked, and its
successor stores them too. Sealed segments are cut behind the last number that counts; a segment without such a number
is renamed, not deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import RecordError, SinkError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.storage.disk import Identity, absence
from esper_telemetry.storage.recovery import seal_segment

if TYPE_CHECKING:
    from pathlib import Path

    from esper_telemetry.storage.recovery import StoredSegment

SUPERSEDED = ".superseded"


class Published(NamedTuple):
    """A segment as far as it may be read.

    Attributes:
        path: the file.
        size: bytes that are durable.
        first_seq: number after the last one before it.
        last_seq: last number in them.
        file_id: of its header.
        identity: which file it is.
    """

    path: Path
    size: int
    first_seq: int
    last_seq: int
    file_id: bytes
    identity: Identity

    @classmethod
    def found(cls, segment: StoredSegment) -> Published:
        """Return a segment that was found on the disk, whole.

        Raises:
            SinkError: it is gone meanwhile.
        """
        size, identity = _look_up(segment.path)
        first_seq = segment.header.previous_last_seq + 1
        return cls(segment.path, size, first_seq, segment.last_seq, segment.header.file_id, identity)

    def absence(self) -> str:
        """Return what became of it; empty if it is all there.

        Raises:
            SinkError: the operating system does not tell.
        """
        return absence(self.path, self.identity, self.size)

    def looked_up(self) -> Published:
        """Return the same segment in the file that has its name now.

        Raises:
            SinkError: there is none.
        """
        size, identity = _look_up(self.path)
        return self._replace(size=size, identity=identity)

    def is_copied(self) -> bool:
        """Return whether the file that has its name now is a copy of it, by the header."""
        try:
            with RecordReader(self.path) as reader:
                return reader.header.file_id == self.file_id
        except (RecordError, OSError):
            return False

    def cut(self, limit: int, notes: list[str]) -> Published:
        """Cut it behind the last whole frame up to number `limit`, seal it, and return what is left of it.

        Raises:
            SinkError: the operating system refused.
            RecordError: not even its header is whole; it is left as it is.
        """
        end = seal_segment(self.path, limit, notes)
        size, identity = _look_up(self.path)
        return self._replace(size=size, last_seq=end, identity=identity)


def cut_segments(published: tuple[Published, ...], last_seq: int) -> tuple[Published, ...]:
    """Take away what comes after `last_seq`; return what is left.

    Args:
        published: sealed segments in order.
        last_seq: last number that counts.

    Raises:
        SinkError: the operating system refused.
    """
    kept = [segment for segment in published if segment.last_seq <= last_seq]
    for segment in published[len(kept) :]:
        if segment.first_seq > last_seq:
            _rename(segment.path)
        else:
            kept.append(segment.cut(last_seq, []))
    return tuple(kept)


def _look_up(path: Path) -> tuple[int, Identity]:
    try:
        status = path.stat()
    except OSError as error:
        raise SinkError(f"{path}: cannot be looked up: {error}; check the disk") from error
    return status.st_size, Identity(status.st_dev, status.st_ino)


def _rename(path: Path) -> None:
    try:
        path.rename(path.with_name(path.name + SUPERSEDED))
        sync_folder(path.parent)
    except OSError as error:
        raise SinkError(f"{path}: cannot be renamed: {error}; check the folder's permissions") from error
