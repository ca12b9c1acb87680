"""The facts of a record, had without reading it."""

from __future__ import annotations

import pytest

import esper_telemetry
from esper_telemetry import RecordOptions, read
from esper_telemetry.decode import summarize
from esper_telemetry.v1 import training_pb2


def test_a_finished_run_says_how_it_ended_and_what_it_holds(record_run):
    folder = record_run(name="first", config={"lr": 0.1}, tags={"group": "a"})
    summary = summarize(folder)
    (stream,) = summary.streams
    events = list(read(folder))
    assert summary.run_ids == [folder.name]
    assert stream.outcome == "completed"
    assert (stream.run_name, stream.rank, stream.stream, stream.segments) == ("first", 0, "main", [1])
    assert stream.events == len(events)
    assert summary.events_by_type == {
        "scalar.logged": 2, **{event.type: 1 for event in events if event.type != "scalar.logged"}
    }  # fmt: skip
    assert (stream.first_time, stream.last_time) == (events[0].time_unix_nano, events[-1].time_unix_nano)
    assert stream.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert stream.started["tags"] == {"group": "a"}
    assert (stream.finished["offered"], stream.finished["dropped"], stream.missing) == (len(events), 0, 0)
    assert not summary.warnings


def test_a_configuration_in_parts_is_one_wherever_its_parts_stand(tmp_path):
    options = RecordOptions(segment_bytes=12_000, frame_bytes=2_000)
    with esper_telemetry.start_run(
        tmp_path, name="c", run_id="c", config={"lr": 1, "a": {"b": 1}}, record=options
    ) as run:
        for number in range(2_000):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
            if number % 500 == 0:
                run.update_config({"a": {"c": number}, "token": "x"})
                run.flush()
    (stream,) = summarize(tmp_path / "c").streams
    assert len(stream.segments) > 1
    assert len(stream.configured) == 4
    assert stream.configuration.values == {"lr": 1, "a": {"b": 1, "c": 1500}, "token": "[redacted]"}
    assert stream.configuration.redacted == ["config.token"]
    assert stream.configuration.sha256 == stream.configured[-1]["config_sha256"]


def test_a_failed_run_says_what_it_died_of(tmp_path):
    with pytest.raises(ZeroDivisionError), esper_telemetry.start_run(tmp_path, name="x", run_id="x"):
        1 / 0  # noqa: B018 - the run is to fail
    (stream,) = summarize(tmp_path / "x").streams
    assert (stream.outcome, stream.finished["error_type"]) == ("failed", "ZeroDivisionError")


def test_a_run_that_is_being_written_is_running_and_a_dead_one_killed(tmp_path, write_record, scalars):
    run = esper_telemetry.start_run(tmp_path, name="x", run_id="x")
    (stream,) = summarize(run.folder).streams
    assert (stream.outcome, stream.closed, stream.events) == ("running", False, 1)
    assert stream.started["name"] == "x"
    run.close()
    (stream,) = summarize(write_record(scalars(3), close=False)).streams
    assert (stream.outcome, stream.events_by_type, stream.events) == ("killed", None, 3)


def test_ranks_are_streams_and_segments_add_up(tmp_path):
    for rank in range(2):
        options = RecordOptions(segment_bytes=12_000, frame_bytes=2_000)
        with esper_telemetry.start_run(tmp_path, name="r", run_id="r", rank=rank, record=options) as run:
            for number in range(2_000):
                run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
                if number % 100 == 0:
                    run.flush()
    summary = summarize(tmp_path / "r")
    assert [stream.rank for stream in summary.streams] == [0, 1]
    assert all(stream.segments == list(range(1, len(stream.segments) + 1)) for stream in summary.streams)
    assert len(summary.streams[0].segments) > 1
    assert summary.events_by_type == {"scalar.logged": 4_000, "run.started": 2, "run.finished": 2}
    assert [stream.outcome for stream in summary.streams] == ["completed", "completed"]


def test_a_damaged_frame_in_the_middle_is_not_even_looked_at(write_record, scalars):
    path = write_record(scalars(10), scalars(10), scalars(10))
    data = bytearray(path.read_bytes())
    places = [at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"]
    data[places[2] + 20] ^= 0xFF
    path.write_bytes(data)
    assert summarize(path).streams[0].events == 30


def test_dropped_and_cut_off_are_warned_of(write_record, scalars):
    path = write_record(scalars(5), scalars(5), shed=2, close=False)
    path.write_bytes(path.read_bytes()[:-1])
    summary = summarize(path)
    assert summary.streams[0].missing == 2
    assert len(summary.warnings) == 2
    assert "file ends inside frame 2" in summary.warnings[0]
