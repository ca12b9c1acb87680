"""A run, through real files and real processes."""

import argparse
import hashlib
import json
import subprocess
import sys
import threading

import pytest

import esper_telemetry as et
from esper_telemetry import errors, events, testing
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.v1 import run_pb2


def messages(run, cls):
    """Every recorded message of a class, from the files of a run."""
    found = []
    for path in run.paths:
        with RecordReader(path) as reader:
            found += [
                cls.FromString(event.payload)
                for event in reader.events()
                if reader.types[event.type_id] == cls.DESCRIPTOR.full_name
            ]
    return found


def test_a_run_starts_with_run_started_and_ends_with_run_finished(tmp_path):
    with et.start_run(tmp_path, name="first", config={"b": 1, "a": [2]}, tags={"team": "rl"}) as run:
        run.emit(events.ScalarLogged, name="loss", value=0.25, step=1)
        run.results["val_accuracy"] = 88.5
    with RecordReader(run.paths[0]) as reader:
        recorded = list(reader.events())
        names = [reader.types[event.type_id].rpartition(".")[2] for event in recorded]
        assert reader.closed
        assert reader.header.run_id == run.run_id
    assert names == ["RunStarted", "ScalarLogged", "RunFinished"]
    assert [event.seq for event in recorded] == [1, 2, 3]
    started = run_pb2.RunStarted.FromString(recorded[0].payload)
    assert json.loads(started.config_json) == {"a": [2], "b": 1}
    assert started.config_json == '{"a":[2],"b":1}'
    assert dict(started.tags) == {"team": "rl"}
    finished = run_pb2.RunFinished.FromString(recorded[-1].payload)
    assert finished.outcome == run_pb2.RUN_OUTCOME_COMPLETED
    assert (finished.offered, finished.dropped) == (3, 0)
    assert finished.HasField("dropped")
    assert dict(finished.results) == {"val_accuracy": 88.5}


def test_an_exception_marks_the_run_failed_and_is_not_swallowed(tmp_path):
    with pytest.raises(ZeroDivisionError), et.start_run(tmp_path, name="bad") as run:
        raise ZeroDivisionError("no data in the third shard")
    (finished,) = messages(run, run_pb2.RunFinished)
    assert finished.outcome == run_pb2.RUN_OUTCOME_FAILED
    assert (finished.error_type, finished.error_message) == ("ZeroDivisionError", "no data in the third shard")


def test_a_keyboard_interrupt_marks_the_run_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt), et.start_run(tmp_path, name="stopped") as run:
        raise KeyboardInterrupt
    (finished,) = messages(run, run_pb2.RunFinished)
    assert finished.outcome == run_pb2.RUN_OUTCOME_INTERRUPTED


def test_run_started_is_in_the_file_before_start_run_returns(tmp_path):
    run = et.start_run(tmp_path, name="early")
    with RecordReader(run.paths[0]) as reader:
        assert [reader.types[event.type_id] for event in reader.events()] == ["esper_telemetry.v1.RunStarted"]
    run.close()


def test_flush_puts_every_event_into_the_file(tmp_path):
    with et.start_run(tmp_path, name="flush", record=et.RecordOptions(flush_interval=1000)) as run:
        for step in range(10):
            run.emit(events.ScalarLogged, name="loss", value=step / 10, step=step)
        assert run.flush()
        assert [message.step for message in messages(run, events.ScalarLogged)] == list(range(10))


def test_results_that_are_no_numbers_are_left_out_and_the_run_still_closes(tmp_path, caplog):
    with et.start_run(tmp_path, name="results") as run:
        run.results = {"good": 1, "bad": object()}
    (finished,) = messages(run, run_pb2.RunFinished)
    assert dict(finished.results) == {"good": 1.0}
    assert "results['bad']" in caplog.text


def test_level_off_records_start_one_notice_and_end(tmp_path):
    with et.start_run(tmp_path, name="off", level="off") as run:
        run.emit(events.ScalarLogged, name="loss", value=1.0)
        assert not run.wants(events.ScalarLogged)
    assert list(run.stats().recorded) == ["run.started", "run.finished", "telemetry.disabled"]
    (notice,) = messages(run, run_pb2.TelemetryDisabled)
    assert notice.lifecycle_only is False


def test_lifecycle_only_is_a_floor_and_the_notice_says_so():
    off, off_sink = testing.memory_run(level="off", lifecycle_only=True)
    assert off.level == "lifecycle"
    off.close()
    notices = [event.data for event in testing.recorded(off_sink) if event.name == "telemetry.disabled"]
    assert len(notices) == 1
    assert notices[0]["lifecycle_only"] is True
    assert "lifecycle events still flow" in notices[0]["message"]
    normal, normal_sink = testing.memory_run(level="normal", lifecycle_only=True)
    assert normal.level == "normal"
    normal.close()
    assert "telemetry.disabled" not in [event.name for event in testing.recorded(normal_sink)]


def test_a_level_change_takes_effect_at_the_next_event_of_every_emitter_and_is_recorded():
    run, sink = testing.memory_run(level="lifecycle")
    bound = run.bind(batch_idx=1, episodes_completed=0)
    bound.emit(events.BatchCompleted, mean_accuracy=1.0)
    run.set_level("minimal", reason="anomaly")
    bound.emit(events.BatchCompleted, mean_accuracy=2.0)
    run.set_level("lifecycle", reason="anomaly_over")
    bound.emit(events.BatchCompleted, mean_accuracy=3.0)
    run.close()
    found = testing.recorded(sink)
    assert [event.data["mean_accuracy"] for event in found if event.name == "batch.completed"] == [2.0]
    changes = [event.data for event in found if event.name == "telemetry.level_changed"]
    assert [(change["from_level"], change["to_level"], change["reason"]) for change in changes] == [
        ("LIFECYCLE", "MINIMAL", "anomaly"),
        ("MINIMAL", "LIFECYCLE", "anomaly_over"),
    ]


def test_events_of_many_threads_have_gapless_numbers_and_rising_times(tmp_path):
    with et.start_run(tmp_path, name="threads") as run:

        def work(number):
            emitter = run.bind(env_id=number)
            for step in range(2000):
                emitter.emit(events.ScalarLogged, name="loss", value=1.0, step=step)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with RecordReader(run.paths[0]) as reader:
        recorded = list(reader.events())
    assert [event.seq for event in recorded] == list(range(1, 8003))
    times = [event.time_unix_nano for event in recorded]
    assert times == sorted(times)
    for number in range(4):
        steps = [
            events.ScalarLogged.FromString(event.payload).step
            for event in recorded
            if event.context.HasField("env_id") and event.context.env_id == number
        ]
        assert steps == list(range(2000))


def test_times_do_not_step_back_when_the_wall_clock_does():
    clock = testing.FakeClock()
    run, sink = testing.memory_run(clock=clock)
    run.emit(events.ScalarLogged, name="a")
    clock.wall -= 3_600_000_000_000
    clock.monotonic += 5
    run.emit(events.ScalarLogged, name="b")
    run.close()
    times = [event.time_unix_nano for event in sink.events()]
    assert times == sorted(times)
    assert times[2] - times[1] == 5


def test_a_disabled_run_is_a_run_that_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    with et.start_run(tmp_path, name="silent") as run:
        assert isinstance(run, et.Run)
        run.emit(events.ScalarLogged, name="loss", value=1.0)
        run.emit(events.ScalarLogged(name="loss"))
        run.bind(env_id=0, no_such_field=1).emit(events.ScalarLogged, nonsense=1)
        run.set_level("debug")
        assert run.flush()
        assert run.stats().offered == 0
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_forgets_to_close_still_leaves_a_closed_record(tmp_path):
    program = (
        "import sys, esper_telemetry as et\n"
        "run = et.start_run(sys.argv[1], name='forgot')\n"
        "run.emit(et.events.ScalarLogged, name='loss', value=1.0)\n"
        "print(run.paths[0])\n"
        "{end}"
    )
    for end, outcome in (("", run_pb2.RUN_OUTCOME_ABANDONED), ("1 / 0", run_pb2.RUN_OUTCOME_FAILED)):
        done = subprocess.run(
            [sys.executable, "-c", program.format(end=end), tmp_path], capture_output=True, text=True, check=False
        )
        with RecordReader(done.stdout.strip()) as reader:
            last = list(reader.events())[-1]
            assert reader.closed
        assert run_pb2.RunFinished.FromString(last.payload).outcome == outcome


def test_a_folder_that_cannot_be_made_is_named_in_the_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(errors.SinkError, match=str(blocked)):
        et.start_run(blocked, name="nowhere")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"level": "loud"}, "level 'loud' is unknown; use one of off, lifecycle, minimal, normal, debug"),
        ({"rank": -1}, "rank is -1"),
        ({"dir": None}, "dir is None"),
        ({"collector": "host"}, "collector address 'host' is not host:port"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(tmp_path, arguments, said):
    with pytest.raises(errors.ConfigError, match=said):
        et.start_run(**{"dir": tmp_path / "runs", "name": "bad", **arguments})
    assert not (tmp_path / "runs").exists()


def test_a_configuration_given_later_is_an_event_and_reads_as_one_with_the_first(tmp_path):
    with et.start_run(tmp_path, name="later", config={"optim": {"lr": 0.1, "name": "adam"}}) as run:
        run.update_config({"optim": {"lr": 0.2}, "hf_token": "x"})
        run.update_config(argparse.Namespace(seed=3))
    with et.start_run(
        tmp_path, name="at once", config={"optim": {"lr": 0.2, "name": "adam"}, "hf_token": "y", "seed": 3}
    ) as one:
        pass
    first, second = messages(run, run_pb2.RunConfigured)
    assert first.config_json == '{"hf_token":"[redacted]","optim":{"lr":0.2}}'
    assert list(first.redacted) == ["config.hf_token"]
    (whole,) = messages(one, run_pb2.RunStarted)
    assert second.config_sha256 == whole.config_sha256


@pytest.mark.parametrize("level", ["off", "lifecycle"])
def test_a_configuration_is_recorded_at_every_level(tmp_path, level):
    with et.start_run(tmp_path, name="quiet", level=level) as run:
        run.update_config({"lr": 0.1})
    assert len(messages(run, run_pb2.RunConfigured)) == 1


def test_a_configuration_of_any_kind_costs_the_run_nothing(tmp_path):
    with et.start_run(tmp_path, name="odd") as run:
        for odd in (None, 3, object(), [1], iter([1]), {"x": object()}, {"x": "y" * 10**6}):
            run.update_config(odd)
    run.update_config({"after": "the end"})
    assert len(messages(run, run_pb2.RunConfigured)) == 7
    assert len(messages(run, run_pb2.RunFinished)) == 1


def test_configurations_of_many_threads_are_merged_in_the_order_of_their_events(tmp_path):
    with et.start_run(tmp_path, name="threads") as run:

        def work(number):
            for step in range(50):
                run.update_config({f"thread{number}": step, "last": [number, step]})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    merged = {}
    for message in messages(run, run_pb2.RunConfigured):
        merged.update(json.loads(message.config_json))
    text = json.dumps(merged, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == message.config_sha256


def test_a_switched_off_run_takes_results_and_configurations_too(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    with et.start_run(tmp_path, name="silent") as run:
        run.results["a"] = 1
        run.results = {"b": 2}
        run.update_config({"lr": 0.1})
    assert run.results == {"b": 2}


def test_ranks_of_a_run_share_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_RUN_ID", "job-17")
    runs = [et.start_run(tmp_path, name="ddp", rank=rank) for rank in range(2)]
    for run in runs:
        run.close()
    assert {run.folder for run in runs} == {tmp_path / "job-17"}
    assert sorted(path.name.split("-")[1] for path in (tmp_path / "job-17").iterdir()) == ["r0", "r1"]


def test_a_run_says_which_it_is_how_it_stands_and_what_was_lost(tmp_path):
    run = et.start_run(tmp_path, name="seen", run_id="exp7")
    run.emit(events.ScalarLogged, name="a")
    run.emit(events.ScalarLogged, nam="a")
    assert repr(run) == "<Run exp7: open, level normal, 2 recorded, 1 lost>"
    run.close("interrupted")
    run.emit(events.ScalarLogged, name="late")
    assert repr(run) == "<Run exp7: interrupted, level normal, 3 recorded, 2 lost>"


def test_a_disabled_run_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    run = et.start_run(tmp_path, name="off", run_id="exp8")
    assert repr(run) == "<Run exp8: off>"
    run.emit("loss", 0.5)
    assert repr(run.bind(step=1)) == "<Emitter: step=1, off>"


def test_the_method_that_help_shows_records_as_the_bound_one_does(tmp_path):
    with et.start_run(tmp_path, name="class") as run:
        et.Run.emit(run, events.ScalarLogged, name="a", value=0.5)
        et.Run.emit(run, events.ScalarLogged, 0.5)
        et.Run.bind(run, rank=1).emit(events.ScalarLogged, name="b")
    assert [event.data for event in et.read(run.folder, types="scalar.logged")] == [
        {"name": "a", "value": 0.5},
        {"name": "b", "rank": 1},
    ]
    assert run.stats().dropped == 1
