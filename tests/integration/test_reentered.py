"""The recorder entered again by the very thread that is inside it: from signal handlers, finalizers and log handlers.

Each program judges what it kept; here it must end, and in time.
"""

import subprocess
import sys
import textwrap

import pytest

PATIENCE = 120
BEGIN = """
    import gc, itertools, logging, os, random, signal, sys, time
    import esper_telemetry as et
    from esper_telemetry import events, testing

    rng = random.Random(int(sys.argv[2]))

    def whole(run):
        stats = run.stats()
        assert stats.offered == sum(stats.recorded.values()) + stats.dropped, stats
        return stats

    def kept(run):
        read = list(et.read(run.folder))
        numbers = [event.seq for event in read]
        assert numbers == sorted(set(numbers))
        stats = whole(run)
        late = sum(count for (_, cause), count in stats.drops.items() if cause in ("after_close", "shutdown"))
        assert len(numbers) + stats.dropped == stats.offered == numbers[-1] + late, stats
        assert read[-1].type == "run.finished"
        assert read[-1].data["offered"] == numbers[-1]
        times = [event.time_unix_nano for event in read]
        assert times == sorted(times)
        return read
"""
HANDLER = """
    calls = {
        "emit": lambda run: run.emit(events.ScalarLogged, name="handler", step=1),
        "first of its type": lambda run: run.bind(batch_idx=1).emit(next(types)),
        "refused": lambda run: run.emit(events.ScalarLogged, nothing=1),
        "message": lambda run: run.emit(events.ScalarLogged(name="handler")),
        "no event": lambda run: run.emit(dict),
        "stats": whole,
        "flush": lambda run: run.flush(0.05),
        "sync": lambda run: run.flush(0.05, sync=True),
        "bind": lambda run: run.bind(env_id=3).emit(events.ScalarLogged, name="handler"),
        "level": lambda run: run.set_level(rng.choice(["debug", "minimal"])),
    }
    types = itertools.cycle([getattr(events, name) for name in events.__all__ if not name.startswith(("Run", "Step"))])
    call = calls[sys.argv[1]]
    handled = 0

    def handle(*_):
        global handled
        handled += 1
        call(run)
        signal.setitimer(signal.ITIMER_REAL, rng.random() * 0.0006 + 1e-6)

    signal.signal(signal.SIGALRM, handle)
    with et.start_run(sys.argv[3], name="entered", record=et.RecordOptions(flush_interval=0.01)) as run:
        signal.setitimer(signal.ITIMER_REAL, 1e-4)
        for step in itertools.count():
            run.emit(events.ScalarLogged, name="loss", value=0.5, step=step)
            if step % 10 == 0:
                run.stats(), run.flush(0.01), run.emit(events.ScalarLogged, nothing=1)
                run.bind(env_id=step).emit(events.LevelChanged, reason="bound")
                run.emit(events.ScalarLogged, name="loss", value=step % 2 or "text")
            if handled >= 300:
                break
    signal.signal(signal.SIGALRM, signal.SIG_IGN)  # the last handler has armed the timer again
    signal.setitimer(signal.ITIMER_REAL, 0)
    kept(run)
"""
CLOSING = """
    def close(*_):
        run.close("interrupted")

    signal.signal(signal.SIGALRM, close)
    long = et.RecordOptions(close_timeout=60)
    for number in range(60):
        run = et.start_run(sys.argv[3], name="closed", run_id=f"run-{number}", record=long)
        signal.setitimer(signal.ITIMER_REAL, rng.random() * 0.006 + 1e-6)
        if number % 2:
            for step in range(100):
                run.emit(events.ScalarLogged, name="loss", value=0.5, step=step)
        else:
            run.flush(), run.stats()
        run.close()
        signal.setitimer(signal.ITIMER_REAL, 0)
        kept(run)
"""
FINALIZER = """
    class Node:
        def __init__(self):
            self.me = self

        def __del__(self):
            global finalized
            finalized += 1
            run.emit(events.ScalarLogged, name="finalizer", value=0.5, step=finalized)
            run.emit(events.ScalarLogged, nothing=1)
            if finalized % 50 == 0:
                run.stats(), run.flush(0.01)

    finalized = 0
    gc.set_threshold(5, 2, 2)
    with et.start_run(sys.argv[3], name="finalized", record=et.RecordOptions(frame_bytes=2000)) as run:
        while finalized < 3000:
            Node()
            run.emit(events.ScalarLogged, name="loss", value=0.5, step=1)
            run.bind(env_id=1).emit(events.ScalarLogged, name="bound", value=0.5)
        gc.collect()
        gc.disable()
    names = [event.data["name"] for event in kept(run) if event.type == "scalar.logged"]
    assert names.count("finalizer") == finalized
"""
LOGGING = """
    class Emitting(logging.Handler):
        def emit(self, record):
            run.emit(events.ScalarLogged, name="logged", value=0.5)
            run.emit(events.ScalarLogged, **{f"unknown_{rng.random()}": 1})
            run.stats()

    logging.getLogger().addHandler(Emitting())
    with et.start_run(sys.argv[3], name="logged") as run:
        run.emit(events.ScalarLogged, nothing=1)
        logging.warning("a line of the program's own")
    assert run.stats().drops["esper_telemetry.v1.ScalarLogged", "invalid"] >= 2
    kept(run)
"""
FORKING = """
    import threading
    def fork_all_the_time():
        while not done:
            if os.fork() == 0:
                signal.alarm(20)
                run.stats(), run.emit(dict), run.bind(env_id=1).emit(events.LevelChanged), run.flush(0.1), run.close()
                os._exit(0)
            statuses.append(os.wait()[1])

    done, statuses = False, []
    with et.start_run(sys.argv[3], name="forked", record=et.RecordOptions(frame_bytes=2000)) as run:
        thread = threading.Thread(target=fork_all_the_time)
        thread.start()
        while len(statuses) < 60:
            run.emit(events.ScalarLogged, name="loss", value=0.5, step=1)
            run.emit(events.ScalarLogged, nothing=1)
            run.bind(env_id=1).emit(events.ScalarLogged, name="bound")
            run.stats()
        done = True
        thread.join()
    assert set(statuses) == {0}, statuses
    whole(run)
"""
CALLS = ("emit", "first of its type", "refused", "message", "no event", "stats", "flush", "sync", "bind", "level")


def judged(program, folder, call="", seed=1):
    """Run a program that judges itself."""
    command = [sys.executable, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(program), call, str(seed), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("call", CALLS)
def test_a_signal_handler_may_do_what_the_program_does(tmp_path, call):
    judged(HANDLER, tmp_path, call)


def test_a_signal_handler_may_close_the_run_whatever_the_program_is_doing(tmp_path):
    judged(CLOSING, tmp_path)


def test_finalizers_that_emit_inside_of_emit_lose_nothing(tmp_path):
    judged(FINALIZER, tmp_path)


def test_a_log_handler_that_emits_what_is_refused_comes_to_an_end(tmp_path):
    judged(LOGGING, tmp_path)


def test_a_child_forked_at_any_moment_by_another_thread_never_hangs(tmp_path):
    judged(FORKING, tmp_path)
