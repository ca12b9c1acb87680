"""The user's sinks of a run: `start_run(sinks=[...])`. The record file comes first, and no sink can hold it up.

The writer thread hands each batch to the sinks when the file has it. Each sink has a thread and a bounded queue of its
own, so a slow one costs its own batches and nothing else. What a sink raises is counted, logged once until it takes a
batch again, and never raised into the trainer. A fork child has none of these threads: its events go to its file alone.
"""

from __future__ import annotations

import logging
from queue import SimpleQueue
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError
from esper_telemetry.recorder.background import Companion
from esper_telemetry.recorder.notices import write_line

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from esper_telemetry.schema import Batch, EventType
    from esper_telemetry.sinks import FileSink, UserSink

# Encoded bytes that wait for one sink: seconds of a busy run. Their memory is two to three times as much.
MOST_WAITING_BYTES = 16 << 20


def checked_sinks(sinks: Iterable[UserSink]) -> list[UserSink]:
    """Return the sinks of a run as a list.

    Raises:
        ConfigError: they cannot be listed, or one of them has no method `write`.
    """
    try:
        listed = list(sinks)
    except TypeError:
        raise ConfigError(f"sinks is of type {type(sinks).__name__}; give a list of sinks") from None
    for number, sink in enumerate(listed):
        if isinstance(sink, type) or not callable(getattr(sink, "write", None)):
            kind = f"the class {sink.__name__}" if isinstance(sink, type) else f"of type {type(sink).__name__}"
            raise ConfigError(f"sinks[{number}] is {kind}; give an object with a method write(batch)")
    return listed


class SinkFeed:
    """One sink of the user's, its thread and the batches that wait for it.

    Args:
        name: for people.
        sink: where batches go.
        types: returns the type table of the stream; it may grow.
    """

    def __init__(self, name: str, sink: UserSink, types: Callable[[], Sequence[tuple[int, EventType]]]) -> None:
        self.name = name
        self._sink = sink
        self._types = types
        self._declared: set[int] = set()
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        # Each number is changed by one thread: the first three by the writer's, the others by the feed's.
        self._offered = self._overflowed = self._bytes_in = 0
        self._taken = self._refused = self._bytes_out = 0
        self._over = self._failing = False
        self._companion = Companion(f"sink {name}", self._work, ask=lambda: self._queue.put(None))

    @property
    def lost(self) -> int:
        """Events that the sink did not take: refused, or beyond what may wait; at the end of the run all the others."""
        return self._offered - self._taken if self._over else self._overflowed + self._refused

    def offer(self, batch: Batch) -> None:
        """Hand over a batch that the record has. Writer thread only."""
        events = batch.records
        self._offered += events
        if self._bytes_in - self._bytes_out + len(batch.raw) > MOST_WAITING_BYTES or self._companion.error is not None:
            if not self._overflowed:
                write_line(logging.WARNING, f"the sink {self.name} is behind: batches are lost to it (reported once)")
            self._overflowed += events
            return
        self._bytes_in += len(batch.raw)
        self._queue.put(batch)

    def stop(self, timeout: float) -> None:
        """Let the sink take what waits and close it, in `timeout` seconds at most; the rest is lost to it."""
        self._companion.stop(timeout)
        self._over = True
        if self.lost:
            text = f"the sink {self.name} did not take {self.lost:,} of {self._offered:,} events; the record has them"
            write_line(logging.WARNING, text)

    def _work(self, _: threading.Event) -> None:
        for batch in iter(self._queue.get, None):
            if self._over:
                return
            self._write(batch)
            self._bytes_out += len(batch.raw)
        self._close()

    def _write(self, batch: Batch) -> None:
        try:
            self._sink.write(self._declaring(batch))
        except BaseException as error:  # noqa: BLE001 - the user's code may raise what it likes, and ends no thread
            self._refused += batch.records
            if not self._failing:
                self._failing = True
                write_line(logging.WARNING, f"the sink {self.name} refused a batch; training goes on: {error!r}", error)
        else:
            self._failing = False
            self._taken += batch.records

    def _declaring(self, batch: Batch) -> Batch:
        """Return `batch` with every type that this sink has not seen declared: it has no header."""
        fresh = dict.fromkeys(number for number in batch.type_counts if number not in self._declared)
        if not fresh and not batch.new_types:
            return batch
        types = dict(self._types())
        self._declared.update(fresh)
        return batch.declaring((number, types[number]) for number in fresh)

    def _close(self) -> None:
        try:
            getattr(self._sink, "close", _nothing)()
        except BaseException as error:  # noqa: BLE001 - as above
            write_line(logging.WARNING, f"the sink {self.name} could not be closed: {error!r}", error)


def _nothing() -> None:
    """What a sink without `close` does at the end."""


class TeeSink:
    """The record file of a run, and the user's sinks behind it.

    Args:
        file: the record; its errors are the run's.
        sinks: the user's.
        types: returns the type table of the stream.
        patience: seconds that `close` gives all sinks together.
    """

    def __init__(
        self,
        file: FileSink,
        sinks: Sequence[UserSink],
        types: Callable[[], Sequence[tuple[int, EventType]]],
        patience: float,
    ) -> None:
        self._file = file
        self._patience = patience
        kinds = [str(getattr(sink, "name", "") or type(sink).__name__) for sink in sinks]
        names = [f"{kind} {at}" if kinds.count(kind) > 1 else kind for at, kind in enumerate(kinds, 1)]
        self._feeds = self._unstopped = [SinkFeed(name, sink, types) for name, sink in zip(names, sinks, strict=True)]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The record files, oldest first."""
        return self._file.paths

    @property
    def bytes_written(self) -> int:
        """Bytes in them."""
        return self._file.bytes_written

    @property
    def losses(self) -> dict[str, int]:
        """Events that each of the user's sinks did not take, by its name."""
        return {feed.name: feed.lost for feed in self._feeds}

    def write(self, batch: Batch) -> None:
        """Append `batch` to the record, then hand it to the user's sinks.

        Raises:
            SinkError: the record did not take it; no sink was given it.
        """
        self._file.write(batch)
        for feed in self._feeds:
            feed.offer(batch)

    def sync(self) -> None:
        """Force the record to the disk.

        Raises:
            SinkError: the operating system refused.
        """
        self._file.sync()

    def check(self) -> None:
        """Look whether the record files are still there."""
        self._file.check()

    def close(self) -> None:
        """Close the record, then let the sinks take what waits and close them; a second call does nothing.

        Raises:
            SinkError: the end of the record could not be written.
        """
        try:
            self._file.close()
        finally:
            feeds, self._unstopped = self._unstopped, []
            for feed in feeds:
                feed.stop(self._patience / len(feeds))
