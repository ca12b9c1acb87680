"""What one `run.emit` costs in processor time, beside building and serializing the same message alone.

    python tools/bench/emit.py [--against CHECKOUT] [--rounds 15]

Every contender handles the same events with ten scalars, whose values change as measurements do. The first table is
the training thread alone, its writer thread at work beside it; the second is all threads of the process, from the first
event to a closed file, without the start of the run. Ratios are those of one round: to build + serialize in the same
process. `--against` runs the same by another checkout (CHECKOUT/.venv), in turns.

The third table is how long single calls take at full speed, on the wall clock: what is rare and long is the writer
thread holding the interpreter. At that speed nothing may be lost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import figures
from checkouts import HERE, Worker, serve
from paired import take_turns, timed

import esper_telemetry as et
from esper_telemetry import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.recorder.emitter import Emitter

EVENTS = 20_000
CLOSED_EVENTS = 50_000
LATENCY_ROUNDS = 10
FLOOD = 500_000
_MEANS = {
    "policy_loss": -0.0132,
    "value_loss": 0.41,
    "entropy": 1.72,
    "kl_divergence": 0.0081,
    "clip_fraction": 0.11,
    "explained_variance": 0.8,
    "lr": 3e-4,
    "grad_norm": 0.45,
    "update_time_ms": 12.5,
}


def _values(count: int) -> list[dict[str, Any]]:
    rng = random.Random(3)  # noqa: S311 - a workload, not a secret
    return [{name: rng.gauss(mean, 0.1) for name, mean in _MEANS.items()} | {"update_epochs": 4} for _ in range(count)]


FIELDS, *VALUES = _values(1_001)
# The buffer is large: what is measured is the cost of an event, not shedding.
_OPTIONS = et.RecordOptions(buffer_bytes=1 << 30)
_UPDATE = events.PpoUpdateCompleted

ALONE, EMIT, QUIET = "build + serialize alone", "emit on a bound emitter", "emit, filtered by level"
BIND, IN_CALL, JSON, NOTHING = "bind(step=...) + emit", "emit(..., step=...)", "dict + json.dumps", "an empty call"
THREAD = (ALONE, EMIT, BIND, IN_CALL, QUIET, JSON, NOTHING)
ALL_ALONE, TO_FILE = "build + serialize, all threads", "emit to a closed file, all threads"
PROCESS = (ALL_ALONE, TO_FILE)


class ToClosedFile:
    """A run that is given events and closed; the next one is started when nothing is timed."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.prepare()

    def prepare(self) -> None:
        """Start a run."""
        self._run = et.start_run(self._folder, name="closed", record=_OPTIONS)
        self._emit = self._run.bind(batch_idx=1, episodes_completed=4).emit

    def __call__(self) -> None:
        """Emit and close."""
        emit, update = self._emit, _UPDATE
        for fields in VALUES * (CLOSED_EVENTS // len(VALUES)):
            emit(update, **fields)
        self._run.close()


def contenders(folder: str, stack: ExitStack) -> dict[str, Callable[[], float]]:
    """Return the work of a round by name, each with its own clock."""
    run = stack.enter_context(et.start_run(folder, name="bench", record=_OPTIONS))
    quiet_run = stack.enter_context(et.start_run(folder, name="quiet", level="minimal", record=_OPTIONS))
    bound = run.bind(batch_idx=1, episodes_completed=4)
    calls = Calls(bound, quiet_run.bind(batch_idx=1, episodes_completed=4))
    work: dict[str, Callable[[], None]] = {
        ALONE: calls.alone,
        EMIT: calls.emit,
        BIND: calls.bind,
        IN_CALL: calls.in_call,
        QUIET: calls.quiet,
        JSON: calls.json,
        NOTHING: calls.nothing,
    }
    made = {name: timed(call, time.thread_time, lambda: run.flush(60)) for name, call in work.items()}
    to_file = ToClosedFile(folder)
    stack.callback(to_file)
    made[TO_FILE] = timed(to_file, time.process_time, to_file.prepare)
    made[ALL_ALONE] = timed(Calls(bound, bound, CLOSED_EVENTS).alone, time.process_time)
    return made


class Calls:
    """Loops that handle events one after the other, each as lean as a loop can be."""

    def __init__(self, bound: Emitter, quiet: Emitter, count: int = EVENTS) -> None:
        self._bound, self._quiet = bound, quiet
        self._events = VALUES * (count // len(VALUES))

    def alone(self) -> None:
        """Build the message and serialize it."""
        update = _UPDATE
        for fields in self._events:
            update(**fields).SerializeToString()

    def emit(self) -> None:
        """Emit with a context that was bound once."""
        emit, update = self._bound.emit, _UPDATE
        for fields in self._events:
            emit(update, **fields)

    def quiet(self) -> None:
        """Emit what the run's level leaves out."""
        emit, update = self._quiet.emit, _UPDATE
        for fields in self._events:
            emit(update, **fields)

    def bind(self) -> None:
        """Bind the context of each event."""
        bind, update = self._bound.bind, _UPDATE
        for number, fields in enumerate(self._events):
            bind(step=number).emit(update, **fields)

    def in_call(self) -> None:
        """Pass what changes of the context in the call."""
        emit, update = self._bound.emit, _UPDATE
        for number, fields in enumerate(self._events):
            emit(update, step=number, **fields)

    def json(self) -> None:
        """Make a line of JSON."""
        for fields in self._events:
            json.dumps({"type": "ppo", "time": time.time_ns(), **fields})

    def nothing(self) -> None:
        """Make the call alone."""
        nothing, update = _nothing, _UPDATE
        for fields in self._events:
            nothing(update, **fields)


def _nothing(*_: object, **__: object) -> None:
    """Do nothing: the price of the call itself."""


def latencies(bound: Emitter) -> list[int]:
    """Return the nanoseconds of each of EVENTS calls."""
    clock, taken = time.perf_counter_ns, []
    for _ in range(EVENTS):
        start = clock()
        bound.emit(_UPDATE, **FIELDS)
        taken.append(clock() - start)
    return taken


def flood(folder: str) -> str:
    """Emit FLOOD events and do nothing else, into a buffer of the default size; return what came of it."""
    with et.start_run(folder, name="flood") as run:
        emit = run.bind(batch_idx=1, episodes_completed=4).emit
        start = time.perf_counter()
        for _ in range(FLOOD):
            emit(_UPDATE, **FIELDS)
        seconds = time.perf_counter() - start
    stats = run.stats()
    return f"{FLOOD / seconds:,.0f} events/s, {stats.dropped:,} lost, {stats.buffer_high_water / 2**20:.1f} MiB waited"


def compare(checkouts: list[Path], rounds: int) -> None:
    """Print what the calls cost by each checkout."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(checkout, __file__, ())) for checkout in checkouts]
        turns = {(worker.name, name): worker.work(name) for worker in workers for name in (*THREAD, *PROCESS)}
        timings = take_turns({": ".join(key): work for key, work in turns.items()}, rounds=rounds)
    for worker in workers:
        for title, names, count in (("the training thread", THREAD, EVENTS), ("all threads", PROCESS, CLOSED_EVENTS)):
            print(f"\n{worker.name}, {title}: processor time, {rounds} rounds in turns")
            for name in names:
                key, base = f"{worker.name}: {name}", f"{worker.name}: {names[0]}"
                each = timings.median(key) / count * 1e9
                print(f"  {name:<36}{each:>8,.0f} ns/event   {timings.ratio(key, base)} of {names[0]}")
        key = f"{worker.name}: {BIND}"
        print(f"  {BIND}: {timings.ratio(key, f'{worker.name}: {EMIT}')} of {EMIT}")
        if worker.name != checkouts[0].name:
            for name in (EMIT, BIND, TO_FILE):
                print(f"  {name}: {timings.ratio(f'{checkouts[0].name}: {name}', f'{worker.name}: {name}')} of it now")
    here = checkouts[0].name
    for subject, name, base, goal in (
        ("`emit` of ten scalars, training thread, processor time", EMIT, ALONE, 1.5),
        ("the same to a closed file, all threads", TO_FILE, ALL_ALONE, 2.4),
        ("`bind(step=...)` + `emit`", BIND, EMIT, 1.5),
        ("`emit` of an event that the level leaves out", QUIET, ALONE, None),
    ):
        ratio = timings.ratio(f"{here}: {name}", f"{here}: {base}")
        figures.report(subject, ratio, of=base, goal=goal, headline=name == EMIT)


def main() -> None:
    """Print nanoseconds an event and ratios to build + serialize."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, with a .venv")
    parser.add_argument("--rounds", type=int, default=15, help="counted rounds, after one that is not")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if options.serve:
            serve(contenders(folder, stack))
            return
        compare([HERE, *([options.against.resolve()] if options.against else [])], options.rounds)
        with et.start_run(folder, name="bench", record=_OPTIONS) as run:
            bound = run.bind(batch_idx=1, episodes_completed=4)
            calls = sorted(itertools.chain.from_iterable(latencies(bound) for _ in range(LATENCY_ROUNDS)))
        flooded = flood(folder)
    print(f"\nsingle calls: {len(calls):,}, one straight after the other, wall clock")
    for share in (0.5, 0.99, 0.999, 0.9999):
        print(f"  {f'p{100 * share:g}':<44} {calls[int(share * len(calls))] / 1e3:>10,.1f} us")
    print(f"{FLOOD:,} events in a loop that does nothing else: {flooded}")


if __name__ == "__main__":
    main()
