"""The disk fails under a real run: training goes on, losses are counted by cause, and the file stays valid."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from esper_telemetry.recordfile import RecordReader, list_run, verify
from esper_telemetry.v1 import run_pb2


def run_python(code: str, *arguments: object) -> dict:
    """Run a program; return the JSON it prints last."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def read(folder) -> tuple[list, object]:
    """Return the numbers of a run's events and its RunFinished, every segment checked."""
    seqs, finished = [], None
    for path in list_run(folder):
        assert verify(path).good
        with RecordReader(path) as reader:
            for event in reader.events():
                seqs.append(event.seq)
                if reader.types[event.type_id].endswith("RunFinished"):
                    finished = run_pb2.RunFinished.FromString(event.payload)
    return seqs, finished


# The size limit of the process stands in for a small disk: a write stops short, the next one fails.
FULL_DISK = """
    import json, os, resource, sys, time
    import esper_telemetry as et
    from esper_telemetry import events

    options = et.RecordOptions(flush_interval=0.02, buffer_bytes=2_000_000, close_timeout=10)
    with et.start_run(sys.argv[1], name="full", record=options) as run:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        room = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (run.stats().bytes_written + room, hard))
        for step in range(20_000):
            run.emit(events.ScalarLogged, name=os.urandom(20).hex(), value=1.0, step=step)
            if step == 5_000:
                time.sleep(0.3)
        if sys.argv[3] == "freed":
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            time.sleep(1)
            for step in range(1000):
                run.emit(events.ScalarLogged, name="after", value=1.0, step=step)
            run.flush(10)
    stats = run.stats()
    print(json.dumps({"folder": str(run.folder), "offered": stats.offered, "dropped": stats.dropped,
                      "causes": sorted({cause for _, cause in stats.drops}), "recorded": sum(stats.recorded.values())}))
"""


@pytest.mark.parametrize("room", [0, 1000, 60_000])
def test_a_disk_that_is_full_for_a_while_costs_only_what_is_counted(tmp_path, room):
    said = run_python(FULL_DISK, tmp_path, room, "freed")
    seqs, finished = read(said["folder"])
    assert seqs == sorted(set(seqs))
    assert said["dropped"] > 0
    assert said["causes"] == ["buffer_full"]
    assert len(seqs) == said["offered"] - said["dropped"]
    assert seqs[0] == 1
    assert finished.dropped == said["dropped"]
    assert seqs[-1] == said["offered"]


def test_a_disk_that_stays_full_leaves_a_valid_file_and_an_honest_count(tmp_path):
    said = run_python(FULL_DISK.replace("close_timeout=10", "close_timeout=1"), tmp_path, 60_000, "never")
    seqs, finished = read(said["folder"])
    assert seqs == list(range(1, len(seqs) + 1))
    assert finished is None
    assert said["offered"] - said["dropped"] == len(seqs)


def test_a_folder_that_is_removed_is_made_again_and_the_run_goes_on(tmp_path):
    code = """
        import json, shutil, sys
        import esper_telemetry as et
        from esper_telemetry import events
        with et.start_run(sys.argv[1], name="removed") as run:
            run.emit(events.ScalarLogged, name="before", value=1.0)
            run.flush()
            shutil.rmtree(run.folder)
            for step in range(100):
                run.emit(events.ScalarLogged, name="after", value=1.0, step=step)
            run.flush()
        print(json.dumps({"folder": str(run.folder), "offered": run.stats().offered}))
    """
    said = run_python(code, tmp_path)
    seqs, finished = read(said["folder"])
    assert finished is not None
    assert seqs == list(range(3, said["offered"] + 1))


def test_a_target_that_cannot_be_written_is_refused_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    code = """
        import json, sys
        import esper_telemetry as et
        try:
            et.start_run(sys.argv[1], name="x")
        except et.errors.SinkError as error:
            print(json.dumps({"said": str(error)}))
    """
    said = run_python(code, tmp_path / "file")
    assert "cannot make the run folder" in said["said"]
    assert "check path and permissions" in said["said"]


def test_a_clock_that_steps_back_neither_stops_the_run_nor_turns_time_around(tmp_path):
    code = """
        import json, sys, time
        import esper_telemetry as et
        from esper_telemetry import events

        class Stepping:
            offset = 0
            def wall_ns(self):
                return time.time_ns() - self.offset
            monotonic_ns = staticmethod(time.perf_counter_ns)

        clock = Stepping()
        with et.start_run(sys.argv[1], name="clock", clock=clock) as run:
            for step in range(200):
                clock.offset += 1_000_000_000
                run.emit(events.ScalarLogged, name="x", value=1.0, step=step)
        print(json.dumps({"folder": str(run.folder)}))
    """
    said = run_python(code, tmp_path)
    times = []
    for path in list_run(said["folder"]):
        assert verify(path).good
        with RecordReader(path) as reader:
            times += [event.time_unix_nano for event in reader.events()]
    assert len(times) >= 202, "and what the clock did, if the writer looked in time"
    assert times == sorted(times)


# Root may write anywhere, and a stranger may not read root's Python: a first run imports what a run needs.
AS_ANYBODY = """
    import json, os, sys, tempfile
    import esper_telemetry as et
    from esper_telemetry import events

    folder = sys.argv[1]
    with tempfile.TemporaryDirectory() as warm, et.start_run(warm, name="warm") as run:
        run.emit(events.ScalarLogged, name="x", value=1.0)
        try:
            et.start_run("/proc/nowhere", name="x")
        except et.errors.SinkError:
            pass
    if not os.geteuid():
        os.chown(folder, 65_534, 65_534)
        os.setuid(65_534)
"""


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory() as name:  # not below tmp_path, which is its owner's alone
        yield Path(name)


def test_a_read_only_target_is_refused_at_the_start(folder):
    code = """
    os.chmod(folder, 0o500)
    try:
        et.start_run(folder, name="x")
    except et.errors.SinkError as error:
        print(json.dumps({"said": str(error)}))
    """
    said = run_python(AS_ANYBODY + code, folder)["said"]
    assert "Permission denied" in said
    assert "check path and permissions" in said


def test_a_target_that_may_not_be_entered_is_refused_by_the_same_error(folder):
    code = """
    os.chmod(folder, 0)
    said = []
    for more in ({}, {"run_id": "mine"}, {"resume": os.path.join(folder, "mine")}):
        try:
            et.start_run(folder, name="x", **more)
        except et.TelemetryError as error:
            said.append(f"{type(error).__name__}: {error}")
    print(json.dumps({"said": said}))
    """
    fresh, named, resumed = run_python(AS_ANYBODY + code, folder)["said"]
    for one in (fresh, named):
        assert one.startswith("SinkError")
        assert "Permission denied; check path and permissions" in one
    assert str(folder) in resumed


def test_a_target_that_becomes_read_only_delays_the_next_segment_and_costs_nothing(folder):
    code = """
    options = et.RecordOptions(segment_bytes=60_000, close_timeout=60)
    with et.start_run(folder, name="x", record=options) as run:
        os.chmod(run.folder, 0o500)
        for step in range(20):
            for _ in range(100):
                run.emit(events.ScalarLogged, name=os.urandom(60).hex(), value=1.0, step=step)
            run.flush(0.1)
        held = len(os.listdir(run.folder))
        os.chmod(run.folder, 0o700)
    stats = run.stats()
    print(json.dumps({"folder": str(run.folder), "offered": stats.offered, "dropped": stats.dropped, "held": held}))
    """
    said = run_python(AS_ANYBODY + code, folder)
    seqs, finished = read(said["folder"])
    assert said["held"] == 1
    assert len(list_run(said["folder"])) > 1
    assert seqs == list(range(1, said["offered"] + 1))
    assert (finished.dropped, said["dropped"]) == (0, 0)
