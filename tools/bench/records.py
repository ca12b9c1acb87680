"""Record files beside what people use today: the same events written, read back and searched, in turns.

    python tools/bench/records.py [--events 20000] [--window-events 200000] [--rounds 5]

Times are processor time of all threads, for other programs may use the machine. Ratios are taken round by round:
"mcap 2.1x" means that MCAP took 2.1 times as long as the record file in the same round; in brackets the quartiles.
Peers that are not installed are named and left out:
pip install mcap mcap-protobuf-support orjson tensorboard wandb pyarrow.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import figures
from paired import Timings, alternate
from record_peers import PEERS, Bare, Mcap, Peer, Read, Record, RecordCut
from workload import Made, make_events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OURS = "record file"
# Tenths of the record at which windows start. One window takes milliseconds, which one interruption doubles, and how
# many frames and chunks it touches is chance.
PLACES = (1, 3, 5, 7, 9)


def part_of(made: Sequence[Made], peer: Peer) -> Sequence[Made]:
    """Return the part of the workload that `peer` is given."""
    return made[: max(100, int(len(made) * peer.share))]


def each(seconds: Timings, counts: dict[str, int]) -> Timings:
    """Return times by the event."""
    return Timings({name: [second / counts[name] for second in of] for name, of in seconds.seconds.items()})


def show(title: str, timings: Timings, base: str = OURS) -> None:
    """Print one line a contender: time by the event, and its ratio to `base`."""
    print(f"\n{title}")
    for name in timings.seconds:
        each_ns = timings.median(name) * 1e9
        print(f"  {name:<34} {each_ns:>12,.0f} ns/event   {timings.ratio(name, base)} of {base}")


def written(peer: Peer, made: Sequence[Made], folder: Path) -> tuple[Path, int]:
    """Write the peer's part to a fresh folder; return the file and its bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = peer.write(folder, part_of(made, peer))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return path, sum(file.stat().st_size for file in files)


def bench_write(peers: Sequence[Peer], made: Sequence[Made], root: Path, rounds: int) -> dict[str, Path]:
    """Measure writing; return every peer's file."""
    work = {peer.name: partial(written, peer, made, root / peer.name) for peer in peers}
    timings = alternate(work, rounds=rounds, clock=time.process_time)
    show(
        "write: built from plain fields, to a closed file",
        each(timings, {p.name: len(part_of(made, p)) for p in peers}),
    )
    paths: dict[str, Path] = {}
    sizes: dict[str, float] = {}
    for peer in peers:
        paths[peer.name], size = written(peer, made, root / peer.name)
        if size:
            sizes[peer.name] = size / len(part_of(made, peer))
    print(f"\nbytes an event, and those of {OURS} as parts of them")
    for name, each_size in sizes.items():
        print(f"  {name:<34} {each_size:>12.1f} {sizes[OURS] / each_size:>12.3f}x")
    orjson = "JSON lines (orjson)"
    if orjson in sizes:
        for name in (OURS, "run.emit", Bare.name):
            part = sizes[name] / sizes[orjson]
            print(f"{name}: {timings.ratio(name, orjson)} of the time of {orjson}, {part:.3f}x of its bytes")
        figures.report("write to a closed file, processor time", timings.ratio(OURS, orjson), of=orjson, goal=1.1)
        figures.report("bytes of it", sizes[OURS] / sizes[orjson], of=orjson, goal=0.1)
    for name in set(sizes) & {Mcap.name}:
        figures.report("bytes an event, in bulk", sizes[OURS] / sizes[name], of=name, goal=0.4, headline=True)
    return paths


def bench_read(peers: Sequence[Peer], made: Sequence[Made], paths: dict[str, Path], rounds: int) -> None:
    """Measure reading everything back, payloads decoded."""
    work: dict[str, Callable[[], object]] = {}
    for peer in peers:
        count = peer.read(paths[peer.name])
        if count is not None:
            if count < len(part_of(made, peer)):
                raise SystemExit(f"{peer.name} read {count:,} of {len(part_of(made, peer)):,} events")
            work[peer.name] = partial(peer.read, paths[peer.name])
    counts = {peer.name: len(part_of(made, peer)) for peer in peers}
    timings = each(alternate(work, rounds=rounds, clock=time.process_time), counts)
    show("read: every event decoded", timings)
    for name in set(work) & {Mcap.name, "JSON lines (orjson)"}:
        figures.report(f"time of {name} to read every event, decoded", timings.ratio(name, Read.name), of=Read.name)


def bench_window(peers: Sequence[Peer], made: Sequence[Made], root: Path, rounds: int) -> None:
    """Measure a window of one hundredth of the time, with and without the footer."""
    span = made[-1].time - made[0].time
    windows = [(start, start + span // 100) for start in (made[0].time + span * part // 10 for part in PLACES)]
    paths = {peer.name: written(peer, made, root / peer.name)[0] for peer in peers}
    found: list[Peer] = [*peers, Read()]
    paths[Read.name] = paths[OURS]
    expected = [sum(since <= one.time < until for one in made) for since, until in windows]
    for peer in found:
        if (counts := searched(peer, paths[peer.name], windows)) != expected:
            raise SystemExit(f"{peer.name} found {counts} events in the windows; there are {expected}")
    work = {peer.name: partial(searched, peer, paths[peer.name], windows) for peer in found}
    timings = each(alternate(work, rounds=rounds, clock=time.process_time), {p.name: sum(expected) for p in found})
    show(f"window: 1 % of the time of {len(made):,} events, at {len(windows)} places", timings)
    if Mcap.name in timings.seconds:
        ratio = timings.ratio(Mcap.name, Read.name)
        subject = "time of MCAP to find and decode 1 % of a record"
        figures.report(subject, ratio, of=Read.name, goal=10, at_least=True, headline=True)


def searched(peer: Peer, path: Path, windows: Sequence[tuple[int, int]]) -> list[int | None]:
    """Decode the events of each window; return how many there are."""
    return [peer.window(path, since, until) for since, until in windows]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="events of the workload")
    parser.add_argument("--window-events", type=int, default=200_000, help="events of the record that is searched")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one that is not")
    options = parser.parse_args()
    made = make_events(options.events)
    peers = []
    for peer in PEERS:
        missing = peer.missing()
        if missing:
            print(f"left out: {peer.name}: {missing} is not installed")
        else:
            peers.append(peer)
    print(
        f"{len(made):,} events, {options.rounds} rounds in turns; slow peers get a part and are compared by the event"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = bench_write(peers, made, root, options.rounds)
        bench_read([*peers, Read()], made, {**paths, Read.name: paths[OURS]}, options.rounds)
        searched = [Record(), RecordCut(), *(peer for peer in peers if isinstance(peer, Mcap))]
        bench_window(searched, make_events(options.window_events), root, options.rounds)


if __name__ == "__main__":
    main()
