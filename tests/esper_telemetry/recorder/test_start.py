"""Opening a run: ids and type tables."""

import dataclasses
import os

import pytest

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry import errors, testing
from esper_telemetry.recorder.start import event_types, new_run_id
from esper_telemetry.recordfile import RecordReader, SegmentName, list_run
from esper_telemetry.v1 import training_pb2


def test_a_run_id_sorts_by_time_and_is_safe_in_a_path():
    clock = testing.FakeClock(wall=1_795_386_808_000_000_000)
    first = new_run_id("../../etc/passwd 100 %", clock)
    clock.advance(60)
    second = new_run_id("", clock)
    assert first.startswith("20261122T")
    assert "/" not in first
    assert ".." not in first.partition("-")[2][:2]
    assert first < second
    assert "-run-" in second


def test_given_schemas_stand_in_the_first_header(tmp_path):
    with et.start_run(tmp_path, name="x", schemas=[seed_pb2]) as run, RecordReader(run.paths[0]) as reader:
        assert "esper.v1.SeedCulled" in reader.types.values()


@pytest.mark.parametrize("schema", [object(), 3, "seed_pb2", dict])
def test_a_schema_that_declares_no_event_is_refused(schema):
    with pytest.raises(errors.SchemaError):
        event_types([schema])


def test_types_are_numbered_once():
    types = event_types([seed_pb2, seed_pb2.SeedCulled])
    names = [one.full_name for one in types]
    assert len(names) == len(set(names))


def test_old_segments_go_when_only_so_much_is_to_be_kept(tmp_path):
    options = et.RecordOptions(segment_bytes=60_000, keep_bytes=150_000)
    with et.start_run(tmp_path, name="x", record=options) as run:
        for _ in range(40):
            for _ in range(50):
                run.emit(training_pb2.ScalarLogged, name=os.urandom(200).hex())
            run.flush()
    left = list_run(run.folder)
    assert left == list(run.paths)
    assert 1 < len(left) < SegmentName.parse(left[-1]).segment
    assert sum(path.stat().st_size for path in left[:-1]) <= options.keep_bytes
    seqs = [event.seq for event in et.read(run.folder)]
    assert seqs == list(range(seqs[0], 2003)), "nothing is missing behind the oldest"


def test_every_option_of_the_record_reaches_its_place(tmp_path, mocker):
    opened = mocker.spy(et.sinks.FileSink, "__init__")
    options = et.RecordOptions(
        flush_interval=0.5, sync="every", frame_bytes=5000, buffer_bytes=70_000, reserve_bytes=8000, close_timeout=3.0,
        segment_bytes=90_000, segment_seconds=7.0, keep_bytes=200_000, on_error="raise", children="count",
        redact=("lr",), argv=False, system_interval=60.0,
    )  # fmt: skip
    assert not {field.name for field in dataclasses.fields(options) if getattr(options, field.name) == field.default}
    with (
        et.start_run(tmp_path, name="x", record=options, config={"lr": 1, "n": 2}) as run,
        RecordReader(run.paths[0]) as reader,
    ):
        header = reader.header
        core = run._core
    started = next(iter(et.read(run.folder))).data
    assert "argv" not in started
    assert started["config_json"] == '{"lr":"[redacted]","n":2}'
    policy = header.flush_policy
    assert (policy.frame_bytes, policy.flush_interval_s, policy.sync) == (5000, 0.5, "every")
    given = opened.call_args.kwargs
    assert (given["max_bytes"], given["max_age_s"], given["keep_bytes"]) == (90_000, 7.0, 200_000)
    assert (given["sync"], given["sync_interval_s"]) == ("every", 0.5)
    assert core.options is options
