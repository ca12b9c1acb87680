"""Twins of the real things for tests: a run that keeps its events in memory, a clock one can set, a collector at hand.

run, sink = memory_run(level="debug")
run.emit(events.ScalarLogged, name="loss", value=0.5)
run.close()
assert [event.name for event in recorded(sink)] == ["run.started", "scalar.logged", "run.finished"]
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.clock import SYSTEM_CLOCK
from esper_telemetry.facts.started import run_started
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.options import RecordOptions
from esper_telemetry.recorder.start import event_types, open_run
from esper_telemetry.schema import effective_level
from esper_telemetry.sinks import BatchDecoder, MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from esper_telemetry.clock import Clock
    from esper_telemetry.recorder import Run
    from esper_telemetry.sinks import Sink


class FakeClock:
    """A clock that moves only when it is moved.

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
    sink = MemorySink(core.types())
    started = run_started("memory", "memory")
    return open_run(core, lambda _: wrap(sink), started, level=level, lifecycle_only=lifecycle_only), sink


def recorded(sink: MemorySink) -> list[RecordedEvent]:
    """Return what `sink` was given, in the order of the numbers."""
    decoder = BatchDecoder()
    for number, kind in sink.types.items():
        decoder.declare(number, kind)
    decoded = (event for batch in sink.batches for event in decoder.decode(batch))
    return [RecordedEvent(event.seq, event.name, event.data) for event in decoded]


@contextmanager
def running_collector(folder: Path) -> Iterator[str]:
    """Run a real collector in a thread of this process; it stores below `folder`.

        with running_collector(tmp_path) as address:
            with et.start_run("runs", name="test", collector=address): ...

    Yields:
        Its address, on loopback. At the end it drains: what was sent is on disk then.

    Raises:
        MissingExtraError: the extra "collector" is not installed.
        ConfigError: the folder is in use.
    """
    from esper_telemetry.collector.server import CollectorServer
    from esper_telemetry.collector.settings import Settings

    async def start() -> CollectorServer:
        server = CollectorServer(Settings(listen="127.0.0.1:0", directory=folder))
        await server.start()
        return server

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="collector", daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield f"127.0.0.1:{server.port}"
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
