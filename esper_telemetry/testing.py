"""Twins of the real things for tests: a run that keeps its events in memory, and a clock one can set.

run, sink = memory_run(level="debug")
run.emit(events.ScalarLogged, name="loss", value=0.5)
run.close()
assert [event.name for event in recorded(sink)] == ["run.started", "scalar.logged", "run.finished"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import descriptor_pool, message_factory

from esper_telemetry.clock import SYSTEM_CLOCK
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.facts import run_started
from esper_telemetry.recorder.options import RecordOptions
from esper_telemetry.recorder.start import event_types, open_run
from esper_telemetry.schema import effective_level, event_type, to_plain
from esper_telemetry.sinks import MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder import Run
    from esper_telemetry.sinks import Sink


class FakeClock:
    """A clock that stands until it is moved.

    Attributes:
        wall: nanoseconds since 1970 UTC.
        monotonic: nanoseconds.
    """

    def __init__(self, wall: int = 1_800_000_000_000_000_000, monotonic: int = 1_000_000_000) -> None:
        self.wall = wall
        self.monotonic = monotonic

    def wall_ns(self) -> int:
        """Return `wall`."""
        return self.wall

    def monotonic_ns(self) -> int:
        """Return `monotonic`."""
        return self.monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks on."""
        self.wall += int(seconds * 1e9)
        self.monotonic += int(seconds * 1e9)


class RecordedEvent(NamedTuple):
    """An event as it was recorded: its number, short name, and payload and context in one dict."""

    seq: int
    name: str
    data: dict[str, Any]


def memory_run(
    *,
    level: str = "debug",
    lifecycle_only: bool = False,
    strict: bool = True,
    schemas: Iterable[object] = (),
    record: RecordOptions | None = None,
    clock: Clock = SYSTEM_CLOCK,
    wrap: Callable[[MemorySink], Sink] = lambda sink: sink,
) -> tuple[Run, MemorySink]:
    """Return a run and the memory that its events go to.

    Args:
        level: as in start_run.
        lifecycle_only: as in start_run.
        strict: raise errors of a call, which is what a test wants.
        schemas: as in start_run.
        record: as in start_run.
        clock: as in start_run.
        wrap: puts a sink of the test's own (slow, failing) before the memory.
    """
    chosen = effective_level(level, lifecycle_only=lifecycle_only)
    core = Core(record or RecordOptions(), clock, event_types(schemas), chosen, strict=strict)
    sink = MemorySink(core.declared)
    started = run_started("memory", "memory", None, None)
    return open_run(core, lambda _: wrap(sink), started, level=level, lifecycle_only=lifecycle_only), sink


def recorded(sink: MemorySink) -> list[RecordedEvent]:
    """Return what `sink` was given, in the order of the numbers."""
    pool = descriptor_pool.Default()
    found = []
    for event in sink.events():
        cls = message_factory.GetMessageClass(pool.FindMessageTypeByName(sink.type_names[event.type_id]))
        payload = to_plain(cls.FromString(event.payload))
        data = {**payload, **to_plain(event.context), **payload}
        found.append(RecordedEvent(event.seq, event_type(cls).name, data))
    return found
