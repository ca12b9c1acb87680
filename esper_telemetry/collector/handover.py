"""A producer's segments after another recorder took it over: what that one stored again is taken away here.

A recorder that dies between syncing frames and telling its watermark leaves frames that nobody was promised, and its
successor stores them too. Sealed segments are cut behind the last number that counts; one that has none of
those is renamed, not deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.collector.appender import sync_folder
from esper_telemetry.collector.recovery import seal_segment
from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import RecordReader

if TYPE_CHECKING:
    from pathlib import Path

SUPERSEDED = ".superseded"


class Published(NamedTuple):
    """A segment as far as it may be read.

    Attributes:
        path: the file.
        size: bytes that are durable.
        last_seq: last number in them.
    """

    path: Path
    size: int
    last_seq: int


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
        if _first_seq(segment.path) > last_seq:
            _rename(segment.path)
        else:
            end = seal_segment(segment.path, last_seq, [])
            kept.append(Published(segment.path, segment.path.stat().st_size, end))
    return tuple(kept)


def _first_seq(path: Path) -> int:
    with RecordReader(path) as reader:
        return reader.header.previous_last_seq + 1


def _rename(path: Path) -> None:
    try:
        path.rename(path.with_name(path.name + SUPERSEDED))
        sync_folder(path.parent)
    except OSError as error:
        raise SinkError(f"{path}: cannot be renamed: {error}; check the folder's permissions") from error
