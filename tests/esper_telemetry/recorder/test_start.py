"""Opening a run: ids and type tables."""

import pytest

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry import errors, testing
from esper_telemetry.recorder.start import event_types, new_run_id
from esper_telemetry.recordfile import RecordReader


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
