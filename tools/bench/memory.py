"""What writing and reading a record takes in memory, for some events and for ten times as many: it should not grow.

    python tools/bench/memory.py [--events 200000]

Each number is a process of its own: the growth of its highest resident size while it works, so the interpreter, the
packages and the events that are to be written are not in it (Linux). run.emit
has a buffer of 16 MiB between the trainer and the disk.
"""

from __future__ import annotations

import argparse
import gc
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from record_peers import Emit, Record, batches, type_table
from workload import make_events

import esper_telemetry as et
from esper_telemetry.recordfile import (
    HeaderInfo,
    RecordReader,
    RecordWriter,
    Selection,
    filter_record,
    follow,
    merge,
    random_id,
    recover,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WORK: dict[str, Callable[[Path, Path], object]] = {
    "RecordReader": lambda path, _: sum(1 for _ in RecordReader(path).events()),
    "esper_telemetry.read": lambda path, _: sum(1 for event in et.read(path) if event.data),
    "follow": lambda path, _: sum(len(found.events) for found in follow(path)),
    "verify": lambda path, _: verify(path),
    "recover": recover,
    "merge": lambda path, output: merge([path], output),
    "filter": lambda path, output: filter_record(path, output, lambda _: Selection(type_ids=frozenset({1}))),
}


def peak_kib() -> int:
    """Return the highest resident size of this program so far; ru_maxrss would be its parent's if that is larger."""
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found)


def writer(events: int, folder: Path) -> int:
    """Write a record by the writer alone; return what it took beside making the batches, KiB."""
    made = make_events(events)
    types = type_table(made)
    for _ in batches(made, types):
        pass
    gc.collect()
    before = peak_kib()
    file = RecordWriter(folder / "w.esr.zst", HeaderInfo(run_id="bench", producer_id=random_id()), list(types.values()))
    for batch in batches(made, types):
        file.write(batch)
    file.close(sync=False)
    return peak_kib() - before


def run(events: int, folder: Path) -> int:
    """Emit as fast as possible; return what that took, KiB."""
    made = make_events(events)
    Emit().write(folder / "warm", made[:100])
    gc.collect()
    before = peak_kib()
    Emit(et.RecordOptions()).write(folder / "run", made)
    return peak_kib() - before


def reader(name: str, folder: Path) -> int:
    """Do what `name` names with the record in `folder`; return what it took beside doing it with a small one, KiB."""
    WORK[name](folder / "small" / "record.esr.zst", folder / f"{name}-small.esr.zst")
    gc.collect()
    before = peak_kib()
    WORK[name](folder / "record.esr.zst", folder / f"{name}.esr.zst")
    return peak_kib() - before


def child(name: str, events: int) -> int:
    """Measure in a process of its own; return KiB."""
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        if name in WORK:
            made = make_events(events)
            (folder / "small").mkdir()
            Record().write(folder / "small", made[:1000])
            Record().write(folder, made)
        command = [sys.executable, __file__, "--child", name, "--folder", str(folder), "--events", str(events)]
        return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    """Print the table, or one number of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="events of the larger record")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        work = {"RecordWriter": writer, "run.emit": run}.get(options.child)
        print(work(options.events, options.folder) if work else reader(options.child, options.folder))
        return
    few, many = options.events // 10, options.events
    print(f"{'':<24}{few:>9,} events{many:>9,} events")
    for name in ("RecordWriter", "run.emit", *WORK):
        small, large = child(name, few) / 1024, child(name, many) / 1024
        print(f"{name:<24}{small:>12.1f} MiB{large:>12.1f} MiB")


if __name__ == "__main__":
    main()
