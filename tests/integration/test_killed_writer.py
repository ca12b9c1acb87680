"""A process that writes a record is killed at any moment: what it lost, and what is left.

`make test` kills a few times; ESPER_KILLS=200 is the long version, which prints what was lost.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from esper_telemetry.recordfile import RecordReader, list_run, recover, verify

KILLS = int(os.environ.get("ESPER_KILLS", "6"))
# Says after each event how many were emitted; the numbers of a run start with RunStarted.
WRITER = """
    import os, sys, time
    import esper_telemetry as et
    from esper_telemetry import events
    rate, interval = float(sys.argv[2]), float(sys.argv[3])
    run = et.start_run(sys.argv[1], name="killed", record=et.RecordOptions(flush_interval=interval))
    print(run.folder, flush=True)
    started = time.monotonic()
    count = 0
    while True:
        due = int((time.monotonic() - started) * rate)
        for step in range(count, due):
            run.emit(events.ScalarLogged, name="train/loss", value=1.0 / (step + 1), step=time.time_ns())
        count = max(count, due)
        time.sleep(0.001)
"""


def start(tmp_path, rate: float, interval: float) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), tmp_path, str(rate), str(interval)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_kill_costs_the_last_flush_interval_and_nothing_else(tmp_path):
    rng = random.Random(1)
    interval = 0.2
    late = []
    for number in range(KILLS):
        rate = (200, 2000, 20_000)[number % 3]
        process, folder = start(tmp_path / str(number), rate, interval)
        time.sleep(rng.uniform(0.05, 1.0))
        killed = time.time_ns()
        process.kill()
        process.wait()
        process.stdout.close()
        (path,) = list_run(folder)
        with RecordReader(path) as reader:
            read = list(reader.events())
            assert reader.damage == []
        assert [event.seq for event in read] == list(range(1, len(read) + 1))
        late.append((killed - read[-1].time_unix_nano) / 1e9)
        output = tmp_path / f"{number}.esr.zst"
        result = recover(path, output)
        assert result.events >= len(read)
        assert result.complete is (reader.truncation is None or (result.events == len(read) and not result.open_end))
        assert verify(output).good
    late.sort()
    print(  # noqa: T201 - the measured delay is what this shows
        f"{KILLS} kills, flush interval {interval} s: newest event on disk was"
        f" {late[len(late) // 2]:.3f} s old (median), {late[-1]:.3f} s (worst)"
    )


@pytest.mark.parametrize("how", ["SIGTERM", "exception", "exit"])
def test_an_end_that_the_process_notices_costs_nothing(tmp_path, how):
    code = """
        import os, signal, sys, time
        import esper_telemetry as et
        from esper_telemetry import events
        with et.start_run(sys.argv[1], name="ends") as run:
            print(run.folder, flush=True)
            for step in range(5000):
                run.emit(events.ScalarLogged, name="train/loss", value=0.5, step=step)
            if sys.argv[2] == "SIGTERM":
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            if sys.argv[2] == "exception":
                raise RuntimeError("training failed")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == {"SIGTERM": 128 + signal.SIGTERM, "exception": 1, "exit": 0}[how], done.stderr
    (path,) = list_run(done.stdout.strip())
    checked = verify(path)
    assert checked.good
    assert checked.closed
    with RecordReader(path) as reader:
        steps = [event.seq for event in reader.events()]
    assert steps == list(range(1, 5003))


def test_workers_forked_and_spawned_while_writing_neither_hang_nor_write_into_the_record(tmp_path):
    code = """
        import multiprocessing, sys, time
        import esper_telemetry as et
        from esper_telemetry import events

        def work(run, number):
            for step in range(200):
                if run is not None:
                    run.emit(events.ScalarLogged, name="child", value=number, step=step)
            return number

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
                child = multiprocessing.get_context("spawn").Process(target=work, args=(None, 1))
                child.start()
                child.join()
                assert child.exitcode == 0
    """
    script = tmp_path / "forks.py"
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, script, tmp_path / "runs"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    paths = list_run(done.stdout.strip())
    for path in paths:
        assert verify(path).good
    with RecordReader(paths[0]) as reader:
        read = list(reader.events())
    assert [event.seq for event in read] == list(range(1, 5003))
    assert b"child" not in b"".join(event.payload for event in read)
