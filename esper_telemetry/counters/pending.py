"""Snapshots on their way from a bank to the process that emits them, each handed over exactly once.

`poll`, `close` and `PendingSnapshot.result` are three ways to take the same snapshot:
the first of them has it, so that no count is emitted twice. A bank holds at most
its number of slots; beyond that it goes on accumulating (nothing is lost, nothing waits).
`emit_snapshot` emits what was taken; any object with `bind` and `emit` is run enough for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from esper_telemetry.counters.snapshot import Snapshot, Tag


class Readback(Protocol):
    """One copy from a bank to the host."""

    def done(self) -> bool:
        """Tell whether the copy has finished, without waiting."""

    def wait(self) -> None:
        """Wait until the copy has finished."""

    def read(self) -> Snapshot:
        """Return its content and free what it occupied; called once, after it finished."""


class PendingSnapshot:
    """The snapshot of one flush, before its copy has arrived.

    Attributes:
        batch_idx: last batch in it.
        first_batch_idx: first batch in it.
        coalesced: earlier flushes merged into this one.
    """

    __slots__ = ("_readback", "_snapshot", "batch_idx", "coalesced", "first_batch_idx")

    def __init__(self, readback: Readback, tag: Tag) -> None:
        self._readback = readback
        self._snapshot: Snapshot | None = None
        self.batch_idx, self.first_batch_idx, self.coalesced = tag.batch_idx, tag.first_batch_idx, tag.coalesced

    @property
    def taken(self) -> bool:
        """True once its snapshot was handed over."""
        return self._snapshot is not None

    def done(self) -> bool:
        """Tell whether `result` would return without waiting."""
        return self.taken or self._readback.done()

    def result(self) -> Snapshot:
        """Return the snapshot, and wait for the device if its copy has not arrived.

        Besides `close` this is the only call that waits. A snapshot taken here is not
        handed over again by `poll` or `close`.
        """
        if self._snapshot is None:
            if not self._readback.done():
                self._readback.wait()
            self._snapshot = self._readback.read()
        return self._snapshot

    def events(self) -> Iterator[tuple[type[Message], dict[str, Any]]]:
        """Yield the events of `result()`; see `Snapshot.events`."""
        return self.result().events()


class Outbox:
    """Snapshots in flight, oldest first.

    Args:
        slots: how many may be in flight or untaken at a time.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._flight: deque[PendingSnapshot] = deque()

    @property
    def full(self) -> bool:
        """True when a further flush has to coalesce."""
        self._forget_taken()
        return len(self._flight) >= self.slots

    def put(self, pending: PendingSnapshot) -> PendingSnapshot:
        """Add a snapshot that was just flushed."""
        self._flight.append(pending)
        return pending

    def poll(self) -> list[Snapshot]:
        """Take the finished ones, in the order of their flushes."""
        finished = []
        self._forget_taken()
        while self._flight and self._flight[0].done():
            finished.append(self._flight[0].result())
            self._forget_taken()
        return finished

    def waiting(self) -> list[PendingSnapshot]:
        """Return those not handed over yet."""
        self._forget_taken()
        return list(self._flight)

    def clear(self) -> None:
        """Forget all: for a fork child, whose copy of the device's work is not its own."""
        self._flight.clear()

    def _forget_taken(self) -> None:
        if any(pending.taken for pending in self._flight):
            self._flight = deque(pending for pending in self._flight if not pending.taken)


_SUMMED = ("invalid_rows", "left_out", "doubtful", "values_left_out", "values_doubtful")


class BindsContext(Protocol):
    """What `emit_snapshot` needs of a run: the recorder's `Run` has it."""

    def bind(self, **context: Any) -> Any:
        """Return an emitter with `context`."""


def emit_snapshot(run: BindsContext, snapshot: Snapshot, **context: Any) -> None:
    """Emit every event of `snapshot` on `run`, bound to its batch and device and to `context`.

    What was left out, is doubtful or was misuse is also summed into `run.results`, where `run` has that, and so
    appears in the last event of the run: "counters/left_out", "counters/misuse/thread" and so on.

    Args:
        run: a `Run` or anything with its `bind` and `emit`.
        snapshot: what `poll`, `close` or `PendingSnapshot.result` returned.
        context: further context, e.g. episodes_completed.
    """
    bound = run.bind(**{**snapshot.context, **context})
    for event_class, fields in snapshot.events():
        bound.emit(event_class, **fields)
    results = getattr(run, "results", None)
    if isinstance(results, dict):
        add_troubles(results, snapshot)


def add_troubles(results: dict[str, Any], snapshot: Snapshot) -> None:
    """Add to `results` what was left out of a snapshot, is doubtful in it, or was misuse; zeros are not added."""
    troubles = {name: getattr(snapshot, name) for name in _SUMMED}
    troubles |= {f"misuse/{kind}": count for kind, count in snapshot.misuse.items()}
    for name, count in troubles.items():
        if count:
            key = f"counters/{name}"
            results[key] = results.get(key, 0) + count
