"""A forked child of a run: its own stream, its own numbers, its own end."""

import logging
import multiprocessing
import os
import signal
import threading
import time

import pytest

import esper_telemetry as et
from esper_telemetry import events, testing
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.sinks.child import TALLY_NAME
from esper_telemetry.v1 import run_pb2
from tests.esper_telemetry.recorder.childstreams import steps, streams, work

FAST = et.RecordOptions(flush_interval=0.05)


def last(path):
    with RecordReader(path) as reader:
        return list(reader.events())[-1]


def test_the_events_of_a_child_are_a_stream_of_its_own_with_numbers_from_one(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:
        run.emit(events.ScalarLogged, name="parent", step=1)  # waits in the parent's buffer at the fork

        def act():
            for step in range(100):
                run.emit(events.ScalarLogged, name="child", step=step)
            assert run.stats().offered == 100
            assert run.stats().recorded == {"scalar.logged": 100}
            assert run.flush()
            assert [path.name.partition("-")[0] for path in run.paths] == ["worker"]
            run.close()
            run.close()

        in_child(act)
        run.emit(events.ScalarLogged, name="parent", step=2)
        assert run.stats().offered == 3
        assert [path.name.partition("-")[0] for path in run.paths] == ["main"]
    own, child = streams(run)
    assert (steps(own, "parent"), steps(own, "child")) == ([1, 2], [])
    assert (steps(child, "parent"), steps(child, "child")) == ([], list(range(100)))
    assert child[-1][0] == "stream.finished"
    assert child[-1][1] | {"duration_s": 0} == {"reason": "closed", "duration_s": 0, "offered": 101, "dropped": 0}
    with RecordReader(next(run.folder.glob("worker-*"))) as reader:
        assert [event.seq for event in reader.events()] == list(range(1, 102))
        assert reader.closed


def test_a_child_that_emits_nothing_leaves_nothing(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:

        def act():
            assert run.stats() == et.RunStats(0, {}, 0, {}, 0, 0, 0.0)
            assert run.flush()
            assert run.paths == ()
            run.close()
            assert run.stats().dropped == 0

        in_child(act)
    assert len(list(run.folder.iterdir())) == 1


def test_an_event_that_its_level_filters_opens_no_stream(tmp_path, in_child):
    with et.start_run(tmp_path, name="x", level="lifecycle") as run:
        in_child(lambda: (run.emit(events.ScalarLogged, name="x"), run.close()))
    assert len(streams(run)) == 1


def test_every_way_into_a_run_works_in_a_child(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:
        bound = run.bind(env_id=1)
        run.emit(events.ScalarLogged, name="parent")
        ways = [
            lambda: run.emit(events.ScalarLogged, name="child"),
            lambda: run.emit(events.ScalarLogged(name="child")),
            lambda: bound.emit(events.ScalarLogged, name="child"),
            lambda: run.bind(env_id=2).emit(events.ScalarLogged, name="child"),
            lambda: run.emit_always(events.ScalarLogged(name="child")),
            lambda: (run.set_level("debug"), run.emit(events.ScalarLogged, name="child")),
            lambda: (run.emit(events.ScalarLogged, wrong=1), run.emit(events.ScalarLogged, name="child")),
        ]
        for way in ways:
            in_child(lambda way=way: (way(), run.flush()))
        assert run.level == "normal"
    own, *children = streams(run)
    assert len(own) == 3
    assert len(children) == len(ways)
    assert all(sum(data.get("name") == "child" for _, data in child) == 1 for child in children)


def test_what_a_child_loses_is_counted_in_its_own_stream(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:

        def act():
            run.emit(events.ScalarLogged, wrong=1)
            assert run.stats().drops == {("esper_telemetry.v1.ScalarLogged", "invalid"): 1}
            run.close()

        in_child(act)
        assert run.stats().dropped == 0
    finished = streams(run)[1][-1][1]
    assert (finished["offered"], finished["dropped"]) == (2, 1)


def test_the_end_of_a_with_block_in_a_child_closes_the_childs_stream_only(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:
        run.emit(events.ScalarLogged, name="parent", step=1)

        def act():
            run.emit(events.ScalarLogged, name="child", step=1)
            with pytest.raises(KeyError), run:
                raise KeyError("in the child")

        in_child(act)
        run.emit(events.ScalarLogged, name="parent", step=2)
    own, forked = streams(run)
    assert steps(own, "parent") == [1, 2]
    assert own[-1][1]["outcome"] == "completed"
    assert (forked[-1][1]["reason"], forked[-1][1]["error_type"]) == ("failed", "KeyError")


def test_a_child_of_a_child_has_a_stream_of_its_own_and_belongs_to_the_run(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:

        def act():
            run.emit(events.ScalarLogged, name="child", step=1)
            in_child(lambda: (run.emit(events.ScalarLogged, name="grandchild", step=2), run.close()))
            run.emit(events.ScalarLogged, name="child", step=3)
            run.close()

        in_child(act)
    _, *children = streams(run)
    assert sorted((steps(one, "child"), steps(one, "grandchild")) for one in children) == [([], [2]), ([1, 3], [])]
    parents = set()
    for path in run.folder.glob("worker-*"):
        with RecordReader(path) as reader:
            parents.add(reader.header.parent_producer_id)
    with RecordReader(next(run.folder.glob("main-*"))) as reader:
        assert parents == {reader.header.producer_id}


def test_a_child_that_is_killed_keeps_what_was_flushed_and_its_parent_is_as_ever(tmp_path):
    with et.start_run(tmp_path, name="x", record=FAST) as run:
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            run.emit(events.ScalarLogged, name="child", step=1)
            run.flush()
            os.write(write_end, b"x")
            time.sleep(60)
        os.read(read_end, 1)
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        run.emit(events.ScalarLogged, name="parent", step=1)
    own, forked = streams(run)
    assert (steps(own, "parent"), steps(forked, "child")) == ([1], [1])
    assert own[-1][1]["outcome"] == "completed"


def test_a_child_of_multiprocessing_writes_everything_at_its_end(tmp_path):
    context = multiprocessing.get_context("fork")
    with et.start_run(tmp_path, name="x", record=et.RecordOptions(flush_interval=60)) as run:
        workers = [context.Process(target=work, args=(run, number)) for number in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0] * 8
    own, *children = streams(run)
    assert len(own) == 2
    assert sorted(child[0][1]["name"] for child in children) == [f"worker {number}" for number in range(8)]
    for child in children:
        assert len(child) == 201
        assert (child[-1][1]["reason"], child[-1][1]["dropped"]) == ("exit", 0)


def test_threads_of_a_child_open_one_stream_together(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:

        def act():
            threads = [threading.Thread(target=work, args=(run, number)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            run.close()

        in_child(act)
    _, child = streams(run)
    assert len(child) == 8 * 200 + 1


def test_a_run_that_was_closed_before_the_fork_stays_closed(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:
        pass
    in_child(lambda: (run.emit(events.ScalarLogged, name="late"), run.flush(), run.stats(), run.close()))
    assert len(streams(run)) == 1


def test_a_child_that_has_closed_the_run_records_nothing_more_and_nor_do_its_children(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:

        def act():
            run.emit(events.ScalarLogged, name="child", step=1)
            run.close()
            run.emit(events.ScalarLogged, name="child", step=2)
            in_child(lambda: run.emit(events.ScalarLogged, name="child", step=3))

        in_child(act)
        in_child(lambda: (run.close(), run.emit(events.ScalarLogged, name="never"), run.flush()))
    _, child = streams(run)
    assert steps(child, "child") == [1]


def test_two_runs_of_a_parent_are_two_runs_in_its_child(tmp_path, in_child):
    with et.start_run(tmp_path, name="a") as a, et.start_run(tmp_path, name="b") as b:
        in_child(lambda: (work(a, 1), work(b, 2), a.close(), b.close()))
    assert [len(streams(run)[1]) for run in (a, b)] == [201, 201]


def test_a_daemon_that_forks_twice_goes_on_recording_and_its_parents_record_ends_truthfully(tmp_path):
    read_end, write_end = os.pipe()
    starter = os.fork()
    if not starter:  # the process that starts the run, and is gone soon after
        run = et.start_run(tmp_path, name="x", record=FAST)
        run.emit(events.ScalarLogged, name="starter", step=1)
        if not os.fork():
            os.setsid()
            os.chdir("/")
            if not os.fork():
                for step in range(100):
                    run.emit(events.ScalarLogged, name="daemon", step=step)
                run.close()
                os.write(write_end, b"x")
            os._exit(0)
        run.close()
        os._exit(0)
    os.waitpid(starter, 0)
    os.read(read_end, 1)
    own, daemon = (list(et.read(path)) for path in sorted(tmp_path.glob("*/*.esr.zst")))
    assert [event.type for event in own] == ["run.started", "scalar.logged", "run.finished"]
    assert [event.data.get("step") for event in daemon] == [*range(100), None]


def test_retention_deletes_segments_of_the_parent_only(tmp_path, in_child):
    options = et.RecordOptions(segment_bytes=30_000, keep_bytes=1, frame_bytes=10_000, flush_interval=0.05)
    with et.start_run(tmp_path, name="x", record=options) as run:
        in_child(lambda: (work(run, 1), run.close()))
        for step in range(3000):
            run.emit(events.ScalarLogged, name=os.urandom(20).hex(), step=step)
            if not step % 300:
                run.flush()
    (child,) = run.folder.glob("worker-*")
    assert len(list(et.read(child))) == 201
    assert len(list(run.folder.glob("main-*"))) < 5


# --- children that only count -----------------------------------------------------------------------------------------


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def test_events_of_children_can_be_only_counted_and_the_record_says_how_many(tmp_path, in_child, said):
    with et.start_run(tmp_path, name="x", record=et.RecordOptions(children="count")) as run:

        def act():
            work(run, 1)
            run.emit(events.ScalarLogged, wrong=1)
            assert not run.flush()
            stats = run.stats()
            assert (stats.offered, stats.recorded, stats.dropped) == (201, {}, 201)
            assert stats.drops["esper_telemetry.v1.ScalarLogged", "in_child"] == 200
            run.close()
            assert (run.stats().offered, run.stats().drops) == (stats.offered, stats.drops)
            assert any("counted and not recorded" in text for text in said())

        in_child(act)
        in_child(lambda: (work(run, 2), run.close()))
    (own,) = streams(run)
    assert own[0][1]["telemetry"]["children"] == "count"
    finished = own[-1][1]
    assert finished["drops"] == [{"full_name": "*", "cause": "in_child", "count": 401}]
    assert (finished["offered"], finished["dropped"]) == (len(own) + 401, 401)
    assert not (run.folder / TALLY_NAME).exists()


def test_a_child_that_is_killed_after_a_flush_has_been_counted(tmp_path, in_child):
    with et.start_run(tmp_path, name="x", record=et.RecordOptions(children="count")) as run:
        in_child(lambda: (work(run, 1), run.flush(), os._exit(0)))
    assert streams(run)[0][-1][1]["dropped"] == 200


def test_what_was_counted_is_reported_while_the_run_goes_on_and_once(tmp_path, in_child):
    with et.start_run(tmp_path, name="x", record=et.RecordOptions(children="count")) as run:
        for number in range(3):
            in_child(lambda number=number: (work(run, number), run.close()))
            run.flush()
            assert run.stats().dropped == 200 * (number + 1)
    assert streams(run)[0][-1][1]["dropped"] == 600


def test_beyond_the_limit_children_are_counted_in_the_record(tmp_path, in_child, mocker):
    mocker.patch("esper_telemetry.sinks.MOST_CHILDREN", 2)
    with et.start_run(tmp_path, name="x") as run:
        for number in range(4):
            in_child(lambda number=number: (work(run, number), run.close()))
    own, *children = streams(run)
    assert [len(child) for child in children] == [201, 201]
    assert own[-1][1]["drops"] == [{"full_name": "*", "cause": "in_child", "count": 400}]


def test_the_child_of_a_run_in_memory_is_told_that_nothing_is_recorded(in_child, said):
    run, sink = testing.memory_run()

    def act():
        run.emit(events.ScalarLogged, name="child")
        assert not run.flush()
        assert run.stats().drops == {("esper_telemetry.v1.ScalarLogged", "in_child"): 1}
        assert any("in memory" in text for text in said())
        run.close()

    in_child(act)
    run.close()
    assert [event.name for event in testing.recorded(sink)] == ["run.started", "run.finished"]


def test_the_last_event_of_a_child_says_nothing_of_the_run(tmp_path, in_child):
    with et.start_run(tmp_path, name="x") as run:
        in_child(lambda: (work(run, 1), run.close("failed", ValueError("x"))))
    (path,) = run.folder.glob("worker-*")
    with RecordReader(path) as reader:
        assert reader.types[last(path).type_id] == run_pb2.StreamFinished.DESCRIPTOR.full_name
