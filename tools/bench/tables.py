"""Records to Arrow and Parquet beside `read`, MCAP and the files themselves: CPU seconds, in turns, and memory.

    python tools/bench/tables.py [--events 1000000] [--rounds 5] [--runs FOLDER]

Each contender runs once a round in this process, in alternating order; a ratio is that of two contenders in one round,
the median with its quartiles. Process CPU is counted, of all threads. Memory is the peak of a process of its own.
With a folder of runs (tools/make_runs.py) the twelve questions are asked of it too, and its data set is weighed.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import figures
from paired import Timings
from record_peers import Mcap, batches, type_table
from workload import make_events

import esper_telemetry as et
from esper_telemetry.decode import survey
from esper_telemetry.exports import export_dataset
from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter, random_id
from esper_telemetry.tables import RecordWarning
from esper_telemetry.tables.opening import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PAGE = Path(__file__).resolve().parents[2] / "docs" / "analysts.md"
RARE = "perf.throughput"
_PART = 250_000  # events of one run of the workload: a million at once take GiB as Python objects
_MIB = 1 << 20


def write_runs(folder: Path, events: int) -> tuple[list[Path], list[Path]]:
    """Write the workload as runs, and as MCAP where that is installed; return the files of both."""
    records, mcaps = [], []
    for number, at in enumerate(range(0, events, _PART)):
        made = make_events(min(_PART, events - at), seed=number)
        path = folder / f"run{number}" / "record.esr.zst"
        path.parent.mkdir()
        types = type_table(made)
        header = HeaderInfo(run_id=f"run{number}", producer_id=random_id())
        writer = RecordWriter(path, header, list(types.values()))
        for batch in batches(made, types):
            writer.write(batch)
        writer.close(sync=False)
        records.append(path)
        if not Mcap().missing():
            mcaps.append(Mcap().write(path.parent, made))
    return records, mcaps


def alternate_cpu(contenders: Mapping[str, Callable[[], object]], rounds: int) -> Timings:
    """Return the process CPU seconds of each contender in each round, as `paired.alternate` does for wall time."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name in list(contenders) if number % 2 == 0 else reversed(list(contenders)):
            start = time.process_time()
            contenders[name]()
            if number:  # the first round warms up
                seconds[name].append(time.process_time() - start)
    return Timings(seconds)


def to_arrow(records: Sequence[Path], types: str | None = None) -> int:
    """Decode all types, or some, to Arrow; return the rows."""
    return sum(batch.num_rows for _, batch in Reading(survey(records), types))


def to_dicts(records: Sequence[Path]) -> int:
    """Read every event as a dict."""
    return sum(1 for event in et.read(records) if event.data)


def to_parquet(records: Sequence[Path]) -> int:
    """Export to a data set; return the bytes of its files, those without rows aside."""
    with tempfile.TemporaryDirectory() as folder:
        return export_dataset(records, folder).bytes


def mcap_decoded(files: Sequence[Path]) -> int:
    """Decode MCAP files by the decoder of its own package."""
    reader = importlib.import_module("mcap.reader")
    decoder = importlib.import_module("mcap_protobuf.decoder")
    count = 0
    for path in files:
        with path.open("rb") as file:
            made = reader.make_reader(file, decoder_factories=[decoder.DecoderFactory()])
            count += sum(1 for _ in made.iter_decoded_messages())
    return count


def show_arrow(records: Sequence[Path], mcaps: Sequence[Path], rounds: int) -> None:
    """Print what decoding to Arrow takes."""
    work: dict[str, Callable[[], object]] = {
        "all types to Arrow": partial(to_arrow, records),
        "one type to Arrow": partial(to_arrow, records, RARE),
        "read, .data": partial(to_dicts, records),
        "data set of Parquet": partial(to_parquet, records),
    }
    if mcaps:
        work["MCAP, decoded"] = partial(mcap_decoded, mcaps)
    timings = alternate_cpu(work, rounds)
    print("\nCPU seconds, median of the rounds")
    for name in work:
        print(f"  {name:<24} {timings.median(name):>8.2f}")
    print("\nratios, paired in a round")
    for slow, fast, goal in (
        ("read, .data", "all types to Arrow", 6),
        ("read, .data", "one type to Arrow", 25),
        ("MCAP, decoded", "all types to Arrow", 4),
    ):
        if slow in work:
            ratio = timings.ratio(slow, fast)
            print(f"  {slow} / {fast:<20} {ratio}   goal: {goal}x or more")
            figures.report(f"processor time of `{slow}`", ratio, of=fast, goal=goal, at_least=True)


def show_parquet(records: Sequence[Path], rounds: int) -> None:
    """Print rate and size of a data set."""
    rows = to_arrow(records)
    timings = alternate_cpu({"export": partial(to_parquet, records)}, rounds)
    rate = rows / timings.median("export")
    print(f"\nParquet, zstd 3: {rate / 1e6:.2f} M rows per CPU second   goal: 0.6 or more")
    size = sum(path.stat().st_size for path in records)
    print(f"  {to_parquet(records) / size:.3f} of the record's {size:,} bytes   goal: 0.6 or less")


def show_memory(records: Sequence[Path]) -> None:
    """Print the peak of processes that export and scan a part of the records, and all."""
    print("\npeak memory of a process, MiB   goal: 250 or less, whatever the length")
    for verb in ("scan", "export"):
        for count in (1, len(records)):
            command = [sys.executable, __file__, "--only", verb, *map(str, records[:count])]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"  {verb:<8} {count} runs {float(done.stdout):>8.0f}")


def only(verb: str, paths: Sequence[str]) -> None:
    """Do one thing and print the peak memory of this process."""
    records = [Path(path) for path in paths]
    to_arrow(records) if verb == "scan" else to_parquet(records)
    # Not ru_maxrss: a child begins with that of the process that started it.
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    print(int(peak[1]) * 1024 / _MIB if peak else 0)


def show_questions(folder: Path) -> None:
    """Ask the questions of the page over runs, and weigh their data set."""
    runs = sorted(path for path in folder.iterdir() if path.is_dir())
    print(f"\nthe twelve questions over {len(runs)} runs: wall and CPU seconds   goal: less than 1 each")
    for number, title, sql in re.findall(
        r"^### (\d+)\. (.*?)$.*?^```sql\n(.*?)\n```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    ):
        wall, cpu = time.perf_counter(), time.process_time()
        answer = et.query(sql, runs)
        took = time.perf_counter() - wall, time.process_time() - cpu
        print(f"  {number:>2} {took[0]:.3f} {took[1]:.3f} {len(answer):>4} rows  {title}")
    files = [path for run in runs for path in run.glob("*.esr.zst")]
    frames = 0
    for path in files:
        with RecordReader(path) as reader:
            frames += sum(frame.end - frame.offset for frame in reader.frames())
    size, whole = to_parquet(runs), sum(path.stat().st_size for path in files)
    print(f"\ndata set of these runs: {size:,} bytes")
    print(f"  {size / frames:.2f} of their data frames, {size / whole:.2f} of their files")
    print("  goal: 1.0 of the data frames or less")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="events of the workload")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one that is not")
    parser.add_argument("--runs", type=Path, help="folder of real runs, for the questions")
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore", RecordWarning)
    if options.only:
        only(options.only[0], options.only[1:])
        return
    with tempfile.TemporaryDirectory() as folder:
        records, mcaps = write_runs(Path(folder), options.events)
        print(f"{options.events:,} events, {options.rounds} rounds in turns")
        show_arrow(records, mcaps, options.rounds)
        show_parquet(records, options.rounds)
        show_memory(records)
    if options.runs is not None:
        show_questions(options.runs)


if __name__ == "__main__":
    main()
