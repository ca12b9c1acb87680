"""Reading a record back by two checkouts in turns: every row by `read`, and the columns of one type.

    python tools/bench/reading.py --against CHECKOUT [--events 200000] [--column-events 1000000] [--rounds 7]

Each checkout records the same workload by `run.emit`, in its own format, and reads its own file; both have the bench of
this checkout and the library of theirs (CHECKOUT/.venv). Processor time of all threads, ratios round by round.

    rows       every event of a record and its data, by `read`
    columns    the fields and the context of the ppo.update_completed events (15 % of all) as columns: by
               `esper_telemetry.table`, and as lists made of the rows of `read(types=...)`, the way without Arrow
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import figures
from checkouts import HERE, Worker, serve
from paired import Timings, take_turns, timed
from workload import make_events

import esper_telemetry as et

if TYPE_CHECKING:
    from collections.abc import Callable

TYPE = "ppo.update_completed"
ROWS, LISTS, TABLE = "rows of read()", "columns by read()", "columns by table()"
_FLUSH = 10_000  # events after which the writer is waited for: nothing may be lost
_PART = 250_000  # events of one run of the workload: a million at once take GiB as Python objects


def recorded(folder: Path, events: int) -> list[Path]:
    """Record a workload and return its files; they are of one run each."""
    paths = []
    for seed, start in enumerate(range(0, events, _PART)):
        made = make_events(min(_PART, events - start), seed)
        with et.start_run(folder / f"{events}-{seed}", name="read") as run:
            for number, one in enumerate(made):
                run.bind(**one.context).emit(one.cls, **one.fields)
                if number % _FLUSH == 0:
                    run.flush(60)
            run.flush(60)
        if run.stats().dropped:
            raise SystemExit(f"{run.stats().dropped:,} events were lost while the record was made")
        paths.append(run.paths[0])
    return paths


def rows(path: Path) -> int:
    """Read every event and its data."""
    return sum(1 for event in et.read(path) if event.data)


def lists(paths: list[Path]) -> dict[str, list[Any]]:
    """Return the columns of one type, made of rows."""
    columns: dict[str, list[Any]] = {}
    for path in paths:
        for event in et.read(path, types=TYPE):
            for name, value in event.data.items():
                columns.setdefault(name, []).append(value)
    return columns


def table(paths: list[Path]) -> int:
    """Return how many rows the Arrow tables of one type have."""
    return sum(et.table(path, TYPE).num_rows for path in paths)


def contenders(folder: Path, events: int, column_events: int) -> dict[str, Callable[[], float]]:
    """Record and return the work of a round by name."""
    (path,) = recorded(folder, events)
    paths = recorded(folder, column_events)
    expected = len(lists(paths)["policy_loss"])
    if table(paths) != expected:
        raise SystemExit(f"table has {table(paths):,} rows, read {expected:,}")
    return {ROWS: timed(partial(rows, path)), LISTS: timed(partial(lists, paths)), TABLE: timed(partial(table, paths))}


def show(timings: Timings, name: str, base: str, per: int) -> None:
    """Print a line: time by the event of the record, and how many times faster than `base` it is."""
    each = timings.median(name) / per * 1e9
    print(f"  {name:<36}{each:>9,.0f} ns an event of the record   {timings.ratio(base, name)} as fast as {base}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, with a .venv")
    parser.add_argument("--events", type=int, default=200_000, help=f"events that are read as rows, {_PART:,} at most")
    parser.add_argument("--column-events", type=int, default=1_000_000, help="events of which one type is read")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, after one that is not")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        with tempfile.TemporaryDirectory() as folder:
            serve(contenders(Path(folder), options.events, options.column_events))
        return
    sizes = ["--events", str(options.events), "--column-events", str(options.column_events)]
    checkouts = [HERE, *([options.against.resolve()] if options.against else [])]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(checkout, __file__, sizes)) for checkout in checkouts]
        turns = {f"{worker.name}: {name}": worker.work(name) for worker in workers for name in (ROWS, LISTS, TABLE)}
        timings = take_turns(turns, rounds=options.rounds)
    base = workers[-1].name
    print(f"{options.events:,} events as rows, one type of {options.column_events:,}; {options.rounds} rounds in turns")
    for worker in workers:
        show(timings, f"{worker.name}: {ROWS}", f"{base}: {ROWS}", options.events)
        for name in (LISTS, TABLE):
            show(timings, f"{worker.name}: {name}", f"{base}: {LISTS}", options.column_events)
    here = workers[0].name
    ratio = timings.ratio(f"{here}: {LISTS}", f"{here}: {TABLE}")
    figures.report("time of `read(types=...)` for the columns of one type", ratio, of="`table()`")


if __name__ == "__main__":
    main()
