"""Writes a stream to record files: names and opens segments, syncs by policy, rotates between frames.

The folder is made and the first segment opened in the constructor. A failed write
leaves the sink as it was: the caller tries the same batch again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.clock import SYSTEM_CLOCK
from esper_telemetry.errors import ConfigError, RecordError, SinkError
from esper_telemetry.recordfile import RecordWriter, SegmentName, prune, random_id
from esper_telemetry.recordfile.paths import path_component
from esper_telemetry.recordfile.retention import KEEP_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        types: types to declare in the first header, with their ids.
        level: zstd compression level.
        sync: when data is forced to the disk: "none" never, "close" when a segment ends, "interval" with the
            first write after `sync_interval_s`, "every" with every write. `sync()` always does.
        sync_interval_s: seconds between syncs of "interval".
        max_bytes: size at which the next batch starts a new segment.
        max_age_s: age at which the next batch starts a new segment, seconds.
        keep_bytes: after a rotation, delete the oldest closed segments of this stream until the rest takes at
            most so much; None keeps all.
        clock: source of time.

    Raises:
        ConfigError: a name or option cannot be used.
        SinkError: folder or file cannot be created or written.

    Attributes:
        path: the segment being written.
        paths: the segments of this sink, oldest first, without those that `keep_bytes` deleted.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        header: HeaderInfo,
        types: Sequence[tuple[int, EventType]],
        *,
        level: int = 3,
        sync: str = "close",
        sync_interval_s: float = 1.0,
        max_bytes: int = SEGMENT_BYTES,
        max_age_s: float = SEGMENT_AGE_S,
        keep_bytes: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if sync not in SYNC_POLICIES:
            raise ConfigError(f"sync {sync!r} is unknown; use one of {', '.join(SYNC_POLICIES)}")
        if not header.anchor_unix_nano:
            header = dataclasses.replace(
                header, anchor_unix_nano=clock.wall_ns(), anchor_monotonic_nano=clock.monotonic_ns()
            )
        if keep_bytes is not None:  # readers tell deleted segments from lost ones by it
            header = dataclasses.replace(header, attributes={**header.attributes, KEEP_BYTES: str(keep_bytes)})
        self._folder = Path(root) / path_component("run id", header.run_id)
        self._types = dict(types)
        self._level = level
        self._sync = sync
        self._sync_interval_ns = int(sync_interval_s * 1e9)
        self._max_bytes = max_bytes
        self._max_age_ns = int(max_age_s * 1e9)
        self._keep_bytes = keep_bytes
        self._clock = clock
        self._closed_bytes = 0
        self._opened_ns = self._synced_ns = 0
        self._folder_synced = False
        self.paths: tuple[Path, ...] = ()
        self._writer = self._open(dataclasses.replace(header, sync=sync))

    @property
    def path(self) -> Path:
        """The segment being written."""
        return self._writer.path

    @property
    def bytes_written(self) -> int:
        """Bytes of all segments of this sink."""
        return self._closed_bytes + self._writer.bytes_written

    def write(self, batch: Batch) -> None:
        """Append `batch` as one frame, in a new segment if the present one is full, old or gone.

        Raises:
            SinkError: it was not written; the same batch may be written again.
        """
        if batch.last_seq > self._writer.last_seq:  # else it was written, and only the sync after it failed
            if self._must_rotate():
                self._rotate()
            self._writer.write(batch)
            self._types.update(batch.new_types)
        if self._must_sync():
            self.sync()

    def sync(self) -> None:
        """Force what was written to the disk, whatever the policy.

        Raises:
            SinkError: the operating system refused.
        """
        self._writer.sync()
        self._synced_ns = self._clock.monotonic_ns()
        if not self._folder_synced:
            _sync_folder(self._folder)
            self._folder_synced = True

    def close(self) -> None:
        """Write the footer, sync unless the policy is "none", and close; a second call does nothing.

        Raises:
            SinkError: the footer could not be written; the file is readable without it.
        """
        self._writer.close(sync=self._sync != "none")

    def abandon(self) -> None:
        """Let go of the file without writing to it: for the copy of this sink in a fork child."""
        self._writer.abandon()

    def _must_sync(self) -> bool:
        if self._sync == "interval":
            return self._clock.monotonic_ns() - self._synced_ns >= self._sync_interval_ns
        return self._sync == "every"

    def _must_rotate(self) -> bool:
        writer = self._writer
        if writer.closed or not writer.frames:
            return False
        full = writer.bytes_written >= self._max_bytes
        old = self._clock.monotonic_ns() - self._opened_ns >= self._max_age_ns
        return full or old or writer.unlinked()

    def _rotate(self) -> None:
        """Open the next segment, then close the present one.

        In this order a footer without a next segment tells a follower that the stream is over.
        """
        old = self._writer
        header = dataclasses.replace(
            self._header,
            file_id=random_id(),
            segment=self._header.segment + 1,
            previous_file_id=old.file_id,
            previous_last_seq=old.last_seq,
        )
        self._writer = self._open(header)
        self._closed_bytes += old.bytes_written
        # Its frames are whole without a footer, and the batch at hand belongs to the new segment.
        with contextlib.suppress(SinkError):
            old.close(sync=self._sync != "none")
        if self._keep_bytes is not None:
            with contextlib.suppress(OSError, RecordError):
                gone = prune(self._folder, self._keep_bytes, stream=SegmentName.parse(self.path))
                self.paths = tuple(path for path in self.paths if path not in gone)

    def _open(self, header: HeaderInfo) -> RecordWriter:
        name = SegmentName.of(header.stream, header.rank, header.anchor_unix_nano, header.producer_id, header.segment)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(
                f"{self._folder}: cannot make the run folder: {error}; check path and permissions"
            ) from error
        writer = RecordWriter(self._folder / name.format(), header, list(self._types.items()), level=self._level)
        self._header = header
        self._opened_ns = self._synced_ns = self._clock.monotonic_ns()
        self._folder_synced = False
        self.paths = (*self.paths, writer.path)
        return writer


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file durable; systems that cannot open folders are left alone."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
