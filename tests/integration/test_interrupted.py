"""Signals and asynchronous exceptions at any moment: nothing hangs, every event is recorded or counted, and the program
ends as it would without telemetry.

`make test` fires some dozens of times, `make soak` 2,000 times and says what it saw.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from esper_telemetry.recordfile import RecordReader, list_run
from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("SIGINT", "SIGTERM", "exception")
PATIENCE = 120
# Each firing raises in the main thread, at a moment that another thread chooses; the program catches it and goes on.
FIRING = """
    import ctypes, itertools, json, os, queue, random, signal, sys, threading, time
    import esper_telemetry as et
    from esper_telemetry import events

    folder, kind, firings, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

    class Arrived(BaseException if sys.argv[5] == "start" else Exception):  # a start may leave out what raises
        pass

    def arrive(*_):
        raise Arrived

    signal.signal(signal.SIGINT, arrive)
    signal.signal(signal.SIGTERM, arrive)
    main, orders, rng = threading.get_ident(), queue.SimpleQueue(), random.Random(seed)

    def fire():
        if kind == "exception":
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(Arrived))
        else:
            os.kill(os.getpid(), getattr(signal, kind))

    def wait():
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if len(misdelivered) > len(handled):
                handled.append(1)
                raise Arrived
            time.sleep(0.001)
        sys.exit("what was raised was swallowed")

    # CPython 3.11 gives what is set for a thread to the one that it is just starting, which ends of it.
    misdelivered, handled = [], []
    if kind == "exception" and sys.version_info < (3, 12):
        sys.unraisablehook = lambda told: misdelivered.append(told.exc_type)

    def shoot():
        while True:
            time.sleep(orders.get())
            fire()

    threading.Thread(target=shoot, daemon=True).start()
    caught = 0
    et.start_run(folder, name="first").close()

    def told(runs):
        stats = [run.stats() for run in runs]
        print(json.dumps({
            "caught": caught,
            "misdelivered": len(misdelivered),
            "uncounted": sum(s.offered - s.dropped - sum(s.recorded.values()) for s in stats),
            "runs": [[str(run.folder), s.offered, s.dropped] for run, s in zip(runs, stats)],
            "threads": [t.name for t in threading.enumerate() if "writer" in t.name],
            "open": [f for f in map(os.readlink, links()) if f.startswith(os.path.realpath(folder))],
        }))

    def links():
        return [link for link in (f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")) if os.path.lexists(link)]
"""
EMIT = """
    with et.start_run(folder, name="fired at", record=et.RecordOptions(flush_interval=0.05)) as run:
        bound = run.bind(batch_idx=1, episodes_completed=2)
        for _ in range(firings):
            try:
                orders.put(rng.random() * 0.004)
                end = time.monotonic() + 20
                for step in itertools.count():
                    if time.monotonic() > end:
                        sys.exit("what was raised was swallowed")
                    run.emit(events.ScalarLogged, name="loss", value=0.5, step=step)
                    bound.emit(events.PpoUpdateCompleted, lr=1e-4, policy_loss=0.5)
                    if step % 16 == 0:
                        run.emit(events.ScalarLogged, no_such_field=1)
                        run.emit(events.ScalarLogged(name="ready"))
                        run.bind(env_id=step).emit(events.ScalarLogged, name="bound", value=step)
                        run.stats(), run.flush(0)
            except Arrived:
                caught += 1
    told([run])
"""
CLOSE = """
    runs = []
    for number in range(firings):
        run = et.start_run(folder, name="closed", run_id=f"run-{number}")
        for step in range(30):
            run.emit(events.ScalarLogged, name="loss", value=0.5, step=step)
        try:
            orders.put(rng.random() * 0.004)
            run.close()
            wait()
        except Arrived:
            caught += 1
        run.close()
        runs.append(run)
    told(runs)
"""
START = """
    runs = []
    for number in range(firings):
        run = None
        try:
            orders.put(rng.random() * 0.006)
            run = et.start_run(folder, name="begun", run_id=f"run-{number}")
            wait()
        except Arrived:
            caught += 1
        if run is not None:
            run.close()
            runs.append(run)
    told(runs)
"""
PLACES = {"emit": EMIT, "close": CLOSE, "start": START}


def fired(folder: Path, place: str, kind: str, firings: int) -> dict[str, Any]:
    """Run a program that is fired at; return what it says of itself."""
    code = textwrap.dedent(FIRING) + textwrap.dedent(PLACES[place])
    done = subprocess.run(
        [sys.executable, "-c", code, folder, kind, str(firings), str(random.randrange(2**32)), place],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE + firings,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def numbers(folder: Path) -> tuple[list[int], Counter[str]]:
    """Return the numbers in the record of a run of one process, and its events by type."""
    seqs, names = [], Counter[str]()
    for path in list_run(folder):
        with RecordReader(path) as reader:
            assert reader.damage == []
            for event in reader.events():
                seqs.append(event.seq)
                names[reader.types[event.type_id]] += 1
    return seqs, names


def check(report: dict[str, Any], firings: int) -> int:
    """Check that nothing went by uncounted; return how many events were offered."""
    assert report["caught"] == firings
    assert report["uncounted"] == 0
    assert report["misdelivered"] < 5
    assert report["threads"] == report["open"] == []
    for folder, offered, dropped in report["runs"]:
        seqs, names = numbers(folder)
        assert seqs == sorted(set(seqs)), folder
        assert len(seqs) + dropped == offered == seqs[-1], folder
        assert names["esper_telemetry.v1.RunStarted"] == names["esper_telemetry.v1.RunFinished"] == 1
    return sum(offered for _, offered, _ in report["runs"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_arrives_at_any_moment_neither_hangs_nor_loses_an_event(tmp_path, place, kind):
    check(fired(tmp_path, place, kind, 8), 8)


# How a program that is ended by a signal ends, and what it does about the signal.
ENDINGS = {
    "nothing": "",
    "exits": "[signal.signal(one, lambda *_: sys.exit(7)) for one in (signal.SIGTERM, signal.SIGINT)]",
    "raises": textwrap.dedent(
        """
        def fail(*_):
            raise RuntimeError("preempted")
        signal.signal(signal.SIGTERM, fail); signal.signal(signal.SIGINT, fail)
        """
    ),
    "ignores": "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)",
}
ENDED = """
import signal, sys, time
import esper_telemetry as et
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts a job behind its back ignores it
{before}
with et.start_run(sys.argv[1], name="ended", run_id="ended", record=et.RecordOptions(flush_interval=0.05)) as run:
    print("ready", flush=True)
    try:
        end = time.monotonic() + {seconds}
        while time.monotonic() < end:
            run.emit(et.events.ScalarLogged, name="loss", value=0.5, step=1)
    finally:
        print("unwound", flush=True)
"""
CALLING = """
import ctypes, sys
import esper_telemetry as et
with et.start_run(sys.argv[1], name="calling", run_id="ended", record=et.RecordOptions(flush_interval=0.05)) as run:
    run.emit(et.events.ScalarLogged, name="before")
    run.flush()
    print("ready", flush=True)
    try:
        ctypes.CDLL(None).sleep(60)
    finally:
        print("unwound", flush=True)
"""


def ended(folder: Path, program: str, sent: list[signal.Signals], after: float, *, recorded: bool) -> tuple[int, str]:
    """End a program by signals; return its exit status and what it printed."""
    environment = {**os.environ, "ESPER_TELEMETRY_DISABLED": "0" if recorded else "1"}
    command = [sys.executable, "-c", program, folder]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        for one in sent:
            process.send_signal(one)
        try:
            status = process.wait(10)  # most would take a minute
        finally:
            process.kill()
        return status, process.stdout.read()


def check_record(folder: Path, status: int) -> None:
    """Check that the record of an ended program has no gap, and the end that could be written."""
    seqs, names = numbers(folder / "ended")
    assert seqs == list(range(1, len(seqs) + 1))
    assert names["esper_telemetry.v1.RunFinished"] == (status != -signal.SIGTERM)


@pytest.mark.parametrize(
    "sent", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 2], ids=["INT", "TERM", "INT twice"]
)
@pytest.mark.parametrize("does", ENDINGS)
def test_a_signal_ends_the_program_as_it_does_without_telemetry(tmp_path, does, sent):
    program = ENDED.format(before=ENDINGS[does], seconds=0.5 if does == "ignores" else 60)
    end_both(tmp_path, program, sent)


def end_both(folder: Path, program: str, sent: list[signal.Signals]) -> None:
    after = random.random() * 0.03
    without = ended(folder, program, sent, after, recorded=False)
    assert not any(folder.iterdir())
    with_it = ended(folder, program, sent, after, recorded=True)
    assert with_it == without
    check_record(folder, with_it[0])


def test_a_signal_ends_a_long_call_outside_the_interpreter_as_it_does_without_telemetry(tmp_path):
    end_both(tmp_path, CALLING, [signal.SIGTERM])
    seqs, _ = numbers(tmp_path / "ended")
    assert len(seqs) == 2, "what was flushed is there"


def test_an_interrupted_run_says_so(tmp_path):
    ended(tmp_path, ENDED.format(before="", seconds=60), [signal.SIGINT], 0.01, recorded=True)
    (path,) = list_run(tmp_path / "ended")
    with RecordReader(path) as reader:
        last = list(reader.events())[-1]
    assert run_pb2.RunFinished.FromString(last.payload).outcome == run_pb2.RUN_OUTCOME_INTERRUPTED


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_thousand_interrupts_lose_nothing(tmp_path, capsys):
    offered = 0
    for place in PLACES:
        for kind in KINDS:
            folder = tmp_path / f"{place}-{kind}"
            offered += check(fired(folder, place, kind, 200), 200)
    ends = [(does, sent) for does in ENDINGS for sent in ([signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 2)]
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        does, sent = ends[number % len(ends)]
        end_both(folder, ENDED.format(before=ENDINGS[does], seconds=0.3 if does == "ignores" else 60), sent)
    with capsys.disabled():
        print(  # noqa: T201 - what was seen is what this shows
            f"\n2,000 interrupts: 0 hangs, 0 of {offered:,} events uncounted,"
            " 200 programs ended with the status that they have without telemetry"
        )
