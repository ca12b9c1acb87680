"""Deletes old segments of a run folder: closed ones only, oldest first, never the last of a stream.

A segment without a footer is never deleted: it is being written, or it is all that a
killed process left.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, UnsupportedRecordError
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import read_footer

if TYPE_CHECKING:
    from pathlib import Path


# Attribute of a header: the bytes that its writer keeps. It tells deleted segments from lost ones.
KEEP_BYTES = "esper_telemetry.keep_bytes"


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
