"""A process that writes a record is killed at any moment: what it lost, and what is left.

`make test` kills a few times; ESPER_KILLS=200 is the long version, which prints what was lost.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from esper_telemetry.commands import main
from esper_telemetry.recordfile import RecordReader, list_run, verify

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("ESPER_KILLS", "6"))
SEED = int(os.environ.get("ESPER_SEED", "1"))
RATES = (200, 2000, 20_000)
# Leaves on a board that outlives it when each event was emitted, and how late a thread that sleeps was woken.
WRITER = """
    import mmap, sys, threading, time
    import esper_telemetry as et
    from esper_telemetry import events

    rate, interval = float(sys.argv[3]), float(sys.argv[4])
    with open(sys.argv[2], "r+b") as file:
        board = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

    def measure_delay():
        while True:
            board[1] = time.time_ns()
            before = time.monotonic_ns()
            time.sleep(0.002)
            board[0] = max(board[0], time.monotonic_ns() - before - 2_000_000)

    threading.Thread(target=measure_delay, daemon=True).start()
    run = et.start_run(sys.argv[1], name="killed", record=et.RecordOptions(flush_interval=interval))
    print(run.folder, flush=True)
    started = time.monotonic()
    count = 0
    while True:
        due = int((time.monotonic() - started) * rate)
        for number in range(count, due):
            board[number + 4] = time.time_ns()  # its number is number + 2, behind RunStarted
            run.emit(events.ScalarLogged, name="train/loss", value=1.0 / (number + 1), step=number)
        count = max(count, due)
        time.sleep(0.001)
"""
BOARD_BYTES = 64 << 20


class Killed(NamedTuple):
    """What a kill left: events lost, seconds that the oldest of them had waited, delay of the process' threads."""

    events: int
    waited: float
    delay: float


def kill_one(folder: Path, rate: float, interval: float, after: float) -> tuple[Path, memoryview, int]:
    """Kill a writer `after` so many seconds; return its record, its board and the time of the kill."""
    board = folder / "board"
    with board.open("wb") as file:
        file.truncate(BOARD_BYTES)
    command = [sys.executable, "-c", textwrap.dedent(WRITER), folder, board, str(rate), str(interval)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        run = process.stdout.readline().strip()
        time.sleep(after)
        killed = time.time_ns()
        process.kill()
    (path,) = list_run(run)
    with board.open("rb") as file:
        left = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)).cast("Q")
    return path, left, killed


def cost(board: memoryview, killed: int, recorded: int) -> Killed:
    """Return what a kill cost a run of which so many events are in the file."""
    first_lost = recorded + 3  # board[2 + number]
    lost = 0
    while board[first_lost + lost]:
        lost += 1
    waited = max(0, killed - board[first_lost]) / 1e9 if lost else 0.0
    return Killed(lost, waited, max(board[0], killed - board[1]) / 1e9)


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_kill_costs_the_last_flush_interval_and_nothing_else(tmp_path, capsys):
    rng = random.Random(SEED)
    interval = 0.2
    costs = []
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        path, board, killed = kill_one(folder, RATES[number % len(RATES)], interval, rng.uniform(0.0, 1.0))
        with RecordReader(path) as reader:
            seqs = [event.seq for event in reader.events()]
            assert reader.damage == []
        assert seqs == list(range(1, len(seqs) + 1)), "what was lost is the end, and only that"
        output = folder / "recovered.esr.zst"
        assert main(["recover", str(path), "-o", str(output)]) == 3, "the writer never closed it"
        assert main(["verify", str(output)]) == 0
        with RecordReader(output) as reader:
            assert [event.seq for event in reader.events()][: len(seqs)] == seqs
        costs.append(cost(board, killed, reader.records))
        board.release()
    with capsys.disabled():
        print(f"\n{report(costs, interval)}")  # noqa: T201 - what the kills cost is what this shows


def report(costs: list[Killed], interval: float) -> str:
    """Say what the kills cost."""
    by_events, by_wait, delays = (sorted(values) for values in zip(*costs, strict=True))
    middle = len(costs) // 2
    beyond = sum(one.waited > interval + one.delay for one in costs)
    return (
        f"{len(costs)} kills at {', '.join(map(str, RATES))} events/s, flush interval {interval} s:"
        f" lost {by_events[middle]:,} events (median), {by_events[-1]:,} (worst);"
        f" the oldest of them had waited {by_wait[middle]:.3f} s (median), {by_wait[-1]:.3f} s (worst);"
        f" threads of the same processes were woken up to {delays[middle] * 1e3:.0f} ms late (median),"
        f" {delays[-1] * 1e3:.0f} ms (worst); {beyond} kills cost more than the interval and that delay"
    )


@pytest.mark.parametrize("how", ["handled SIGTERM", "exception", "exit"])
def test_an_end_that_the_process_notices_costs_nothing(tmp_path, how):
    code = """
        import os, signal, sys, time
        import esper_telemetry as et
        from esper_telemetry import events
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the program's own
        with et.start_run(sys.argv[1], name="ends") as run:
            print(run.folder, flush=True)
            for step in range(5000):
                run.emit(events.ScalarLogged, name="train/loss", value=0.5, step=step)
            if sys.argv[2] == "handled SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            if sys.argv[2] == "exception":
                raise RuntimeError("training failed")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == {"handled SIGTERM": 128 + signal.SIGTERM, "exception": 1, "exit": 0}[how], done.stderr
    (path,) = list_run(done.stdout.strip())
    checked = verify(path)
    assert checked.good
    assert checked.closed
    with RecordReader(path) as reader:
        steps = [event.seq for event in reader.events()]
    assert steps == list(range(1, 5003))


def test_a_parent_that_writes_while_it_forks_has_nothing_of_its_children_in_its_own_stream(tmp_path):
    code = """
        import multiprocessing, sys
        import esper_telemetry as et
        from esper_telemetry import events

        def work(run, number):
            for step in range(200):
                run.emit(events.ScalarLogged, name="child", value=number, step=step)

        if __name__ == "__main__":
            with et.start_run(sys.argv[1], name="forks", record=et.RecordOptions(flush_interval=0.05)) as run:
                print(run.folder, flush=True)
                for round in range(10):
                    fork = [multiprocessing.get_context("fork").Process(target=work, args=(run, n)) for n in range(3)]
                    for one in fork:
                        one.start()
                    for step in range(500):
                        run.emit(events.ScalarLogged, name="parent", value=1.0, step=step)
                    for one in fork:
                        one.join()
                        assert one.exitcode == 0
    """
    script = tmp_path / "forks.py"
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, script, tmp_path / "runs"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    children, (own,) = [], [path for path in list_run(done.stdout.strip()) if path.name.startswith("main")]
    for path in list_run(done.stdout.strip()):
        assert verify(path).good
        with RecordReader(path) as reader:
            assert reader.closed
            children += [list(reader.events())] if path != own else []
    with RecordReader(own) as reader:
        read = list(reader.events())
    assert [event.seq for event in read] == list(range(1, 5003))
    assert b"child" not in b"".join(event.payload for event in read)
    assert [[event.seq for event in child] for child in children] == [list(range(1, 202))] * 30
    assert b"parent" not in b"".join(event.payload for child in children for event in child)
