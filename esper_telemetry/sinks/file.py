"""Writes a stream to record files: names and opens segments, syncs by policy, rotates between frames.

The folder is made and the first segment opened in the constructor. A failed write
leaves the sink as it was: the caller tries the same batch again. A file that was taken away is noticed
before the next write, and at each `check`: its events are reported as lost, and the stream goes on in a new segment.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.clock import SYSTEM_CLOCK, Anchor
from esper_telemetry.errors import ConfigError, RecordError, SinkError
from esper_telemetry.recordfile import Gone, RecordWriter, SegmentName, Vanished, prune, random_id
from esper_telemetry.recordfile.paths import path_component
from esper_telemetry.recordfile.run_folder import KEEP_BYTES
from esper_telemetry.sinks.synced_folder import SyncedFolder

if TYPE_CHECKING:
    import os
    from collections import Counter
    from collections.abc import Callable, Collection, Iterable, Sequence

    from esper_telemetry.clock import Clock
    from esper_telemetry.recordfile import HeaderInfo
    from esper_telemetry.schema.batch import Batch
    from esper_telemetry.schema.event_type import EventType

SYNC_POLICIES = ("none", "close", "interval", "every")
SEGMENT_BYTES = 256 << 20
SEGMENT_AGE_S = 3600.0


class FileSink:
    """A sink that writes the segments of one stream into a run folder.

    Args:
        root: folder of runs; the run folder `<root>/<run_id>` is made inside.
        header: identity of the first segment. A zero anchor is replaced by the clock's time.
        types: event types by id; each segment declares those that it uses, when it first does.
        first: ids of types that the first header declares, because the first event has one of them.
        level: zstd compression level.
        sync: when data and names are forced to the disk: "none" never, "close" when a segment ends, "interval" with
            the first write after `sync_interval_s`, "every" with every write. `sync()` always does.
        sync_interval_s: seconds between syncs of "interval".
        max_bytes: size at which the next batch starts a new segment.
        max_age_s: age at which the next batch starts a new segment, seconds.
        keep_bytes: after a rotation, delete the oldest closed segments of this stream until the rest takes at
            most so much; None keeps all.
        watch_earlier: report closed segments that are gone as well; not where another process may take them away.
        on_vanished: called for each file that is not where it was written, once.
        clock: source of time.

    Raises:
        ConfigError: a name or option cannot be used.
        SinkError: folder or file cannot be created or written.

    Attributes:
        path: the segment being written.
        paths: the segments of this sink, oldest first, without those that `keep_bytes` deleted or that were taken away.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        header: HeaderInfo,
        types: Sequence[tuple[int, EventType]],
        *,
        first: Collection[int] = (),
        level: int = 3,
        sync: str = "close",
        sync_interval_s: float = 1.0,
        max_bytes: int = SEGMENT_BYTES,
        max_age_s: float = SEGMENT_AGE_S,
        keep_bytes: int | None = None,
        watch_earlier: bool = True,
        on_vanished: Callable[[Vanished], None] = lambda _: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if sync not in SYNC_POLICIES:
            raise ConfigError(f"sync {sync!r} is unknown; use one of {', '.join(SYNC_POLICIES)}")
        if not header.anchor_unix_nano:
            header = _anchored(header, Anchor(clock.wall_ns(), clock.monotonic_ns()))
        self._started = header.anchor_unix_nano
        self._folder = SyncedFolder(Path(root) / path_component("run id", header.run_id))
        self._types = dict(types)
        self._level = level
        self._sync = sync
        self._sync_interval_ns = int(sync_interval_s * 1e9)
        self._max_bytes = max_bytes
        self._max_age_ns = int(max_age_s * 1e9)
        self._keep_bytes = keep_bytes
        self._watch_earlier = watch_earlier
        self._on_vanished = on_vanished
        self._clock = clock
        self._closed_bytes = 0
        self._opened_ns = self._synced_ns = 0
        self._earlier = EarlierSegments()
        self._vanished: Vanished | None = None
        if keep_bytes is not None:  # a reader takes segments that are not there for deleted on purpose
            header = dataclasses.replace(header, attributes={**header.attributes, KEEP_BYTES: str(keep_bytes)})
        self._writer = self._open(dataclasses.replace(header, sync=sync), first)

    @property
    def path(self) -> Path:
        """The segment being written."""
        return self._writer.path

    @property
    def paths(self) -> tuple[Path, ...]:
        """The segments of this sink that are there, oldest first."""
        return self._earlier.paths if self._vanished else (*self._earlier.paths, self.path)

    @property
    def bytes_written(self) -> int:
        """Bytes of all segments of this sink."""
        return self._closed_bytes + self._writer.bytes_written

    def write(self, batch: Batch) -> None:
        """Append `batch` as one frame, in a new segment if the present one is full, old, gone or of another anchor.

        Raises:
            SinkError: it was not written; the same batch may be written again.
        """
        self.check()
        self._types.update(batch.new_types)
        if batch.last_seq > self._writer.last_seq:  # else it was written, and only the sync after it failed
            anchor = batch.anchor or self._anchor
            if self._vanished or self._must_rotate(anchor):
                self._rotate(anchor, batch.type_counts)
            self._writer.write(batch)
        if self._must_sync():
            self.sync()

    def check(self) -> None:
        """Check whether the file is still where it was written; report it once if not. It writes nothing."""
        if self._vanished is not None:
            return
        self._vanished = self._writer.vanished()
        if self._vanished is not None:
            self._on_vanished(self._vanished)
            self._check_earlier(self._vanished.how)

    def sync(self) -> None:
        """Force what was written to the disk, whatever the policy.

        Raises:
            SinkError: the operating system refused.
        """
        self._writer.sync()
        self._folder.sync()
        self._synced_ns = self._clock.monotonic_ns()

    def close(self) -> None:
        """Write the footer, sync unless the policy is "none", and close; a second call does nothing.

        Raises:
            SinkError: the footer could not be written, and the file is readable without it; or the name of the
                file may not be durable.
        """
        self.check()
        self._check_earlier()
        durable = self._sync != "none"
        self._end(self._writer, self._vanished, sync=durable)
        if durable:
            self._folder.sync()

    def abandon(self) -> None:
        """Release the file without writing to it: for the copy of this sink in a fork child."""
        self._writer.abandon()

    def _must_sync(self) -> bool:
        if self._sync == "interval":
            return self._clock.monotonic_ns() - self._synced_ns >= self._sync_interval_ns
        return self._sync == "every"

    @property
    def _anchor(self) -> Anchor:
        return Anchor(self._header.anchor_unix_nano, self._header.anchor_monotonic_nano)

    def _must_rotate(self, anchor: Anchor) -> bool:
        writer = self._writer
        if writer.closed:
            return False
        if anchor != self._anchor:
            return True
        full = writer.bytes_written >= self._max_bytes
        old = self._clock.monotonic_ns() - self._opened_ns >= self._max_age_ns
        return bool(writer.frames) and (full or old)

    def _rotate(self, anchor: Anchor, type_ids: Collection[int]) -> None:
        """Open the next segment, whose first header declares these types, then close the present one.

        In this order a footer without a next segment means to a follower that the stream is over.
        """
        old, vanished = self._writer, self._vanished
        header = dataclasses.replace(
            self._header,
            file_id=random_id(),
            segment=self._header.segment + 1,
            previous_file_id=old.file_id,
            previous_last_seq=old.last_seq,
        )
        self._writer, self._vanished = self._open(_anchored(header, anchor), type_ids), None
        self._closed_bytes += old.bytes_written
        durable = self._sync != "none"
        # Its frames are whole without a footer, and the batch at hand belongs to the new segment.
        with contextlib.suppress(SinkError):
            self._end(old, vanished, sync=durable)
        if vanished is None:
            self._earlier.add(old.path, old.type_counts())
        if durable:
            with contextlib.suppress(SinkError):  # the next sync tries again
                self._folder.sync()
        self._check_earlier()
        self._prune()

    def _end(self, writer: RecordWriter, vanished: Vanished | None, *, sync: bool) -> None:
        """Close a file; one that was moved is finished where it is, and one that was cut or replaced is left alone."""
        if vanished is None or vanished.how is Gone.MOVED:
            writer.close(sync=sync)
        else:
            writer.abandon()

    def _check_earlier(self, how: Gone = Gone.REMOVED) -> None:
        if self._watch_earlier:
            for path, events in self._earlier.take_missing():
                self._on_vanished(Vanished(path, how, events))

    def _prune(self) -> None:
        if self._keep_bytes is not None:
            with contextlib.suppress(OSError, RecordError):
                self._earlier.forget(prune(self._folder.path, self._keep_bytes, stream=SegmentName.parse(self.path)))

    def _open(self, header: HeaderInfo, type_ids: Collection[int] = ()) -> RecordWriter:
        name = SegmentName.of(header.stream, header.rank, self._started, header.producer_id, header.segment)
        self._folder.make()
        path = self._folder.path / name.format()
        writer = RecordWriter(path, header, self._types.items(), first=type_ids, level=self._level)
        self._folder.named()
        self._header = header
        self._opened_ns = self._synced_ns = self._clock.monotonic_ns()
        return writer


def _anchored(header: HeaderInfo, anchor: Anchor) -> HeaderInfo:
    return dataclasses.replace(header, anchor_unix_nano=anchor.unix_nano, anchor_monotonic_nano=anchor.monotonic_nano)


class EarlierSegments:
    """The closed segments of one sink, oldest first."""

    def __init__(self) -> None:
        self._events: dict[Path, Counter[int]] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are still known."""
        return tuple(self._events)

    def add(self, path: Path, events: Counter[int]) -> None:
        """Remember a segment that was closed, with its events by type id."""
        self._events[path] = events

    def forget(self, paths: Iterable[Path]) -> None:
        """Forget segments that were deleted on purpose."""
        for path in paths:
            self._events.pop(path, None)

    def take_missing(self) -> list[tuple[Path, Counter[int]]]:
        """Return the segments that are not there any more, each once, with their events by type id."""
        missing = [(path, events) for path, events in self._events.items() if _is_missing(path)]
        self.forget(path for path, _ in missing)
        return missing


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # looking is not allowed, or the disk does not answer: nothing is known
        return False
    return False
