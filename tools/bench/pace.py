"""Real runs of esper at their own pace, beside the same facts as compressed JSON lines.

    python tools/bench/pace.py [heuristic] [ppo] [long] [--against CHECKOUT] [--rounds 1] [--keep FOLDER]

`heuristic` and `ppo` are runs of about 1,200 events in about a minute, `long` is one of more than 10,000 events in
several minutes; all at level normal, on the CPU, with the default options of the recorder. The peer is
`zstd -3` over one JSON line an event: type, time, and data as `cat --json` prints them. Left out of the peer are
sequence numbers, run, stream and producer, and the lines of run.heartbeat; what the header of a record states and no
event does (host, clocks, types with their units and comments) is not in the peer either. The time is written as
nanoseconds since 1970, which compresses better than RFC 3339.

`live` is what the folder takes just before the run is closed: the record before its footer and before anything is
compacted, the last frames flushed. `--against` runs another checkout too, in turns, with that checkout's own Python
(CHECKOUT/.venv). How many frames a live file has depends on how fast the machine trains: compare within one output.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import figures
import zstandard
from checkouts import HERE, python_of
from record_sizes import Sizes, weigh

RUNS = {
    "heuristic": ["heuristic", "--episodes", "3"],
    "ppo": ["ppo", "--batches", "2", "--n-envs", "4", "--max-epochs", "20"],
    "long": ["heuristic", "--episodes", "27"],
}
_COMPACT_LEVEL = 12  # of a compacted file; what it makes of the peer is printed beside
_LONG = 10_000  # events from which the goals of long runs hold


class Goal(NamedTuple):
    """What issue 15 asks for, as parts of the peer's bytes."""

    goal: float | None
    moonshot: float | None


SHORT_GOALS = {"data frames": Goal(0.6, None), "closed": Goal(1.0, 0.7), "live": Goal(3.0, None)}
LONG_GOALS = {"data frames": Goal(None, None), "closed": Goal(0.65, 0.4), "live": Goal(None, None)}


def train(kind: str, folder: Path) -> None:
    """Train in this process, by the esper of its Python, and keep a copy of the record from just before its close."""
    import esper_telemetry as et
    from esper.scripts.train import main as train_main

    close = et.Run._close  # noqa: SLF001 - every way to close a run leads here

    def close_with_copy(run: et.Run, *how: Any) -> None:
        if run.folder is not None:
            run.flush(60)
            shutil.copytree(run.folder, folder / "live")
        close(run, *how)

    et.Run._close = close_with_copy  # type: ignore[assignment, method-assign]  # noqa: SLF001 - a process of its own
    with redirect_stdout(StringIO()):
        code = train_main([*RUNS[kind], "--task", "digits", "--telemetry-dir", str(folder / "runs")])
    if code:
        raise SystemExit(code)


def facts(checkout: Path, run: Path) -> bytes:
    """Return the facts of a run as JSON lines."""
    program = "from esper_telemetry.commands import main; main()"
    command = [python_of(checkout), "-c", program, "cat", str(run), "--format", "json", "--time-format", "unix"]
    lines = []
    for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=checkout).stdout.splitlines():
        event = json.loads(line)
        if event["type"] != "run.heartbeat":
            lines.append(json.dumps({key: event[key] for key in ("type", "time", "data")}, separators=(",", ":")))
    return "\n".join(lines).encode() + b"\n"


def of_folder(folder: Path) -> Sizes:
    """Return what all record files of a folder take together."""
    total = Sizes()
    for path in sorted(folder.glob("*.esr.zst")):
        for name, value in vars(weigh(path)).items():
            setattr(total, name, getattr(total, name) + value)
    return total


def record(kind: str, checkout: Path, folder: Path) -> None:
    """Record one run by a checkout and print its lines."""
    folder.mkdir(parents=True)
    command = [python_of(checkout), __file__, "--child", kind, "--keep", str(folder)]
    start = time.monotonic()
    subprocess.run(command, check=True, cwd=checkout, env={**os.environ, "OMP_NUM_THREADS": "1"})
    seconds = time.monotonic() - start
    (run,) = (folder / "runs").iterdir()
    closed, live = of_folder(run), of_folder(folder / "live")
    lines = facts(checkout, run)
    peer, harder = (len(zstandard.ZstdCompressor(level=level).compress(lines)) for level in (3, _COMPACT_LEVEL))
    goals = LONG_GOALS if closed.events >= _LONG else SHORT_GOALS
    print(
        f"\n{kind} by {checkout.name}: {closed.events:,} events in {seconds:,.0f} s;"
        f" JSON lines {len(lines):,} bytes, with zstd -3 {peer:,} = {peer / closed.events:.1f} an event,"
        f" with -{_COMPACT_LEVEL} {harder:,}"
    )
    print(f"  {'':<14}{'bytes':>10}{'an event':>10}{'of the peer':>13}{'goal':>8}{'moonshot':>10}")
    for name, size in (("data frames", closed.data), ("closed", closed.whole), ("live", live.whole)):
        goal, moonshot = (f"{of:.2f}" if of is not None else "-" for of in goals[name])
        ratio = size / peer
        print(f"  {name:<14}{size:>10,}{size / closed.events:>10.1f}{ratio:>12.2f}x{goal:>8}{moonshot:>10}")
        subject = f"bytes of a real run ({kind}, {closed.events:,} events), {name}"
        of = "the same facts as JSON lines, zstd -3"
        figures.report(subject, ratio, of=of, goal=goals[name][0], headline=name == "closed")
    for name, sizes in (("closed", closed), ("live", live)):
        print(
            f"  {name}: {sizes.frames:,} frames, {sizes.data:,} bytes of data, {sizes.beside:,} beside them,"
            f" header {sizes.header:,}, footer {sizes.footer:,}"
        )


def main() -> None:
    """Print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(RUNS)}; heuristic and ppo if none")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, with a .venv")
    parser.add_argument("--rounds", type=int, default=1, help="how often each run is trained")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the records there")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        train(options.child, options.keep)
        return
    kinds = options.runs or ["heuristic", "ppo"]
    if unknown := set(kinds) - set(RUNS):
        parser.error(f"there is no run {', '.join(sorted(unknown))}: choose from {', '.join(RUNS)}")
    checkouts = [HERE, *([options.against.resolve()] if options.against else [])]
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        for number in range(options.rounds):
            for kind in kinds:
                for checkout in checkouts if number % 2 == 0 else reversed(checkouts):
                    record(kind, checkout, place / f"{kind}-{number}-{checkout.name}")


if __name__ == "__main__":
    main()
