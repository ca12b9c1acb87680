"""What one `run.emit` costs the training thread, beside building and serializing the same message alone.

    python tools/bench/emit.py

Every contender handles the same event with ten scalars; wall time, with the writer thread at work beside it.
The goals: all of emit costs no more than two and a half times what protobuf takes to build and serialize the
message, the call with its keywords included, and an event above the level costs about that call. The second table
is how long single calls take at full speed: what is rare and long is the writer thread holding the interpreter. At
that speed nothing may be lost.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from typing import TYPE_CHECKING, Any

from paired import alternate

import esper_telemetry as et
from esper_telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.recorder.emitter import Emitter

EVENTS = 20_000
LATENCY_ROUNDS = 10
FLOOD = 500_000
FIELDS: dict[str, Any] = {
    "policy_loss": -0.0132,
    "value_loss": 0.41,
    "entropy": 1.72,
    "kl_divergence": 0.0081,
    "clip_fraction": 0.11,
    "explained_variance": 0.8,
    "lr": 3e-4,
    "grad_norm": 0.45,
    "update_time_ms": 12.5,
    "update_epochs": 4,
}


def repeat(call: Callable[[], object]) -> Callable[[], None]:
    """Return a function that makes `call` EVENTS times."""

    def work() -> None:
        for _ in range(EVENTS):
            call()

    return work


def latencies(bound: Emitter) -> list[int]:
    """Return the nanoseconds of each of EVENTS calls."""
    update, clock, taken = events.PpoUpdateCompleted, time.perf_counter_ns, []
    for _ in range(EVENTS):
        start = clock()
        bound.emit(update, **FIELDS)
        taken.append(clock() - start)
    return taken


def flood(folder: str) -> str:
    """Emit FLOOD events and do nothing else, into a buffer of the default size; return what came of it."""
    with et.start_run(folder, name="flood") as run:
        emit, update = run.bind(batch_idx=1, episodes_completed=4).emit, events.PpoUpdateCompleted
        start = time.perf_counter()
        for _ in range(FLOOD):
            emit(update, **FIELDS)
        seconds = time.perf_counter() - start
    stats = run.stats()
    return f"{FLOOD / seconds:,.0f} events/s, {stats.dropped:,} lost, {stats.buffer_high_water / 2**20:.1f} MiB waited"


def main() -> None:
    """Print nanoseconds an event and ratios to build + serialize."""
    update = events.PpoUpdateCompleted
    with tempfile.TemporaryDirectory() as folder:
        # The buffer is large: what is measured is the training thread, not shedding.
        options = et.RecordOptions(buffer_bytes=1 << 30)
        with et.start_run(folder, name="bench", record=options) as run:
            bound = run.bind(batch_idx=1, episodes_completed=4)
            quiet = et.start_run(folder, name="quiet", level="minimal", record=options).bind(
                batch_idx=1, episodes_completed=4
            )
            timings = alternate(
                {
                    "build + serialize alone": repeat(lambda: update(**FIELDS).SerializeToString()),
                    "run.emit": repeat(lambda: bound.emit(update, **FIELDS)),
                    "run.emit, filtered by level": repeat(lambda: quiet.emit(update, **FIELDS)),
                    "dict + json.dumps": repeat(lambda: json.dumps({"type": "ppo", "time": time.time_ns(), **FIELDS})),
                    "an empty call with the same arguments": repeat(lambda: _nothing(update, **FIELDS)),
                },
                rounds=15,
                settle=lambda: run.flush(60),
            )
            calls = sorted(itertools.chain.from_iterable(latencies(bound) for _ in range(LATENCY_ROUNDS)))
        flooded = flood(folder)
    print(f"emit: {EVENTS:,} events of ten scalars a round, ratios to build + serialize")
    print(timings.table(base="build + serialize alone", per=EVENTS, unit="event"))
    print(f"single calls: {len(calls):,}, one straight after the other")
    for share in (0.5, 0.99, 0.999, 0.9999):
        print(f"  {f'p{100 * share:g}':<44} {calls[int(share * len(calls))] / 1e3:>10,.1f} us")
    print(f"{FLOOD:,} events in a loop that does nothing else: {flooded}")


def _nothing(*_: object, **__: object) -> None:
    """Do nothing: the price of the call itself."""


if __name__ == "__main__":
    main()
