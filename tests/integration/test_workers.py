"""Worker processes as trainers have them: every event of every worker is in the record, whatever starts the worker.

Each program is one that a trainer could be, run as a process of its own; its record is read from outside.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

import esper_telemetry as et
from esper_telemetry.recordfile import RecordReader, verify

HEAD = """
    import multiprocessing, os, sys, time
    import esper_telemetry as et
    from esper_telemetry import events

    FAST = et.RecordOptions(flush_interval=0.05)
    METHOD = sys.argv[2]
"""


@pytest.fixture
def program(tmp_path):
    """A function that runs a program with a folder of runs and a start method; it returns the run's folder."""

    def run(code, method="fork", *, status=0):
        script = tmp_path / "trainer.py"
        script.write_text(textwrap.dedent(HEAD) + textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, script, tmp_path / "runs", method],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        assert done.returncode == status, done.stderr
        (folder,) = (tmp_path / "runs").iterdir()
        return folder

    return run


def counted(folder):
    """Return how many scalars of each name the record of a run holds, and check every file of it."""
    assert all(verify(path).good for path in folder.glob("*.esr.zst"))
    return Counter(event.data["name"] for event in et.read(folder, types="scalar.logged"))


def endings(folder):
    """Return the last event of each child's stream, as data; None of one that ended without an end event."""
    found = []
    for path in folder.glob("worker-*"):
        last = list(et.read(path))[-1]
        found.append(last.data if last.type == "stream.finished" else None)
    return found


def outcome(folder):
    (own,) = folder.glob("main-*")
    return list(et.read(own))[-1].data.get("outcome")


EIGHT = """
    def work(run, bound, number):
        for step in range(250):
            run.emit(events.ScalarLogged, name=f"worker {number}", step=step)
        bound.emit(events.ScalarLogged, name="bound", step=number)

    if __name__ == "__main__":
        with et.start_run(sys.argv[1], name="x") as run:
            context = multiprocessing.get_context(METHOD)
            workers = [context.Process(target=work, args=(run, run.bind(env_id=n), n)) for n in range(8)]
            for worker in workers:
                worker.start()
            for step in range(1000):
                run.emit(events.ScalarLogged, name="parent", step=step)
            for worker in workers:
                worker.join()
                assert worker.exitcode == 0
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_events_of_eight_workers_are_all_in_the_record(program, method):
    folder = program(EIGHT, method)
    assert counted(folder) == {**{f"worker {number}": 250 for number in range(8)}, "bound": 8, "parent": 1000}
    assert [end["dropped"] for end in endings(folder)] == [0] * 8
    assert sorted(event.data["env_id"] for event in et.read(folder) if event.data.get("name") == "bound") == [*range(8)]
    assert outcome(folder) == "completed"


LOADER = """
    import torch

    class Samples(torch.utils.data.Dataset):
        def __init__(self, run):
            self.run = run

        def __len__(self):
            return 200

        def __getitem__(self, at):
            self.run.emit(events.ScalarLogged, name="sample", step=at)
            return at

    def train(run):
        loader = torch.utils.data.DataLoader(
            Samples(run), batch_size=20, num_workers=2, multiprocessing_context=METHOD,
            persistent_workers=METHOD == "spawn",
        )
        for epoch in range(3):
            for batch in loader:
                run.emit(events.ScalarLogged, name="batch", step=epoch)

    if __name__ == "__main__":
        with et.start_run(sys.argv[1], name="x") as run:
            train(run)
"""


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_what_a_dataset_emits_in_the_workers_of_a_data_loader_is_recorded(program, method):
    folder = program(LOADER, method)
    assert counted(folder) == {"sample": 600, "batch": 30}
    assert len(endings(folder)) == (6 if method == "fork" else 2)
    assert None not in endings(folder)


# How SubprocVecEnv and AsyncVectorEnv drive environments: a pipe for each, commands and answers, "close" at the end.
ENVIRONMENTS = """
    class Env:
        def __init__(self, run, number):
            self.run = run.bind(env_id=number)
            self.number = number

        def step(self, action):
            self.run.emit(events.ScalarLogged, name="step", step=action)
            return action + self.number

    def serve(pipe, parent_pipe, make):
        parent_pipe.close()
        env = make()
        while True:
            command, data = pipe.recv()
            if command == "close":
                pipe.close()
                break
            pipe.send(env.step(data))

    class Make:
        def __init__(self, run, number):
            self.run, self.number = run, number

        def __call__(self):
            return Env(self.run, self.number)

    if __name__ == "__main__":
        context = multiprocessing.get_context(METHOD)
        with et.start_run(sys.argv[1], name="x") as run:
            pipes, processes = [], []
            for number in range(4):
                mine, theirs = context.Pipe()
                process = context.Process(target=serve, args=(theirs, mine, Make(run, number)), daemon=True)
                process.start()
                theirs.close()
                pipes.append(mine)
                processes.append(process)
            for step in range(100):
                for pipe in pipes:
                    pipe.send(("step", step))
                assert [pipe.recv() for pipe in pipes] == [step + number for number in range(4)]
                run.emit(events.ScalarLogged, name="rollout", step=step)
            for pipe, process in zip(pipes, processes):
                pipe.send(("close", None))
                process.join()
                assert process.exitcode == 0
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_vectorized_environments_emit_is_recorded_with_the_environment(program, method):
    folder = program(ENVIRONMENTS, method)
    assert counted(folder) == {"step": 400, "rollout": 100}
    envs = Counter(event.data.get("env_id") for event in et.read(folder) if event.data.get("name") == "step")
    assert envs == {0: 100, 1: 100, 2: 100, 3: 100}
    assert [end["dropped"] for end in endings(folder)] == [0] * 4


EXECUTOR = """
    from concurrent.futures import ProcessPoolExecutor

    def task(run, number):
        run.emit(events.ScalarLogged, name="task", step=number)
        return run

    if __name__ == "__main__":
        with et.start_run(sys.argv[1], name="x") as run:
            with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context(METHOD)) as pool:
                assert all(back is run for back in pool.map(task, [run] * 60, range(60)))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tasks_of_a_process_pool_record_and_hand_the_run_back(program, method):
    folder = program(EXECUTOR, method)
    assert counted(folder) == {"task": 60}
    assert None not in endings(folder)


def test_a_forked_child_that_leaves_by_sys_exit_inside_the_block_of_its_parent_ends_its_own_stream(program):
    folder = program(
        """
        with et.start_run(sys.argv[1], name="x") as run:
            run.emit(events.ScalarLogged, name="parent")
            child = os.fork()
            if not child:
                run.emit(events.ScalarLogged, name="child")
                sys.exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
            run.emit(events.ScalarLogged, name="parent")
        """
    )
    assert counted(folder) == {"parent": 2, "child": 1}
    assert [end["reason"] for end in endings(folder)] == ["failed"]
    assert outcome(folder) == "completed"


@pytest.mark.parametrize(
    ("act", "status"),
    [("terminate()", -signal.SIGTERM), ("kill()", -signal.SIGKILL)],
)
def test_a_worker_that_is_ended_by_a_signal_changes_nothing_of_its_parent(program, act, status):
    folder = program(
        f"""
        def work(run, ready):
            for step in range(100):
                run.emit(events.ScalarLogged, name="child", step=step)
            run.flush()
            ready.set()
            while True:
                time.sleep(1)

        if __name__ == "__main__":
            context = multiprocessing.get_context(METHOD)
            with et.start_run(sys.argv[1], name="x", record=FAST) as run:
                ready = context.Event()
                worker = context.Process(target=work, args=(run, ready))
                worker.start()
                ready.wait()
                worker.{act}
                worker.join(30)
                assert worker.exitcode == {status}, worker.exitcode
                run.emit(events.ScalarLogged, name="parent")
        """
    )
    assert counted(folder) == {"child": 100, "parent": 1}
    assert endings(folder) == [None]
    assert outcome(folder) == "completed"


def test_a_child_that_leaves_by_os_exit_loses_at_most_a_flush_interval(program):
    folder = program(
        """
        with et.start_run(sys.argv[1], name="x", record=FAST) as run:
            if not os.fork():
                for step in range(40):
                    run.emit(events.ScalarLogged, name="child", step=step)
                    time.sleep(0.02)
                os._exit(3)
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
        """
    )
    # 0.05 s of 0.02 s each, and as much again for the writer to wake up on a busy machine.
    assert counted(folder)["child"] >= 30
    assert endings(folder) == [None]


def test_a_trainer_that_starts_many_workers_records_64_of_them_and_counts_the_others(program):
    folder = program(
        """
        with et.start_run(sys.argv[1], name="x") as run:
            for number in range(70):
                if not os.fork():
                    run.emit(events.ScalarLogged, name="child", step=number)
                    run.close()
                    os._exit(0)
                os.wait()
        """
    )
    assert counted(folder) == {"child": 64}
    (own,) = folder.glob("main-*")
    finished = list(et.read(own))[-1].data
    assert finished["drops"] == [{"full_name": "*", "cause": "in_child", "count": 6}]
    with RecordReader(own) as reader:
        assert reader.closed


def test_an_event_of_a_thread_that_outlives_the_run_or_runs_at_the_exit_hangs_and_raises_nothing(program):
    folder = program(
        """
        import atexit, threading
        from concurrent.futures import ThreadPoolExecutor

        run = et.start_run(sys.argv[1], name="x")
        atexit.register(lambda: run.emit(events.ScalarLogged, name="atexit"))  # runs after ours: it came before
        emitting = threading.Event()

        def emit_for_ever():
            while True:
                run.emit(events.ScalarLogged, name="daemon")
                emitting.set()

        class Late:
            def __del__(self):
                run.emit(events.ScalarLogged, name="late")

        late = Late()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda step: run.emit(events.ScalarLogged, name="pool", step=step), range(400)))
        threading.Thread(target=emit_for_ever, daemon=True).start()
        emitting.wait()
        if len(sys.argv) > 3:
            run.close()
        """
    )
    assert counted(folder)["pool"] == 400
    (own,) = folder.glob("main-*")
    with RecordReader(own) as reader:
        assert reader.closed
