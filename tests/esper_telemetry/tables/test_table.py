"""A table holds what `read` gives, cell by cell: of real runs, of several ranks, killed, resumed, damaged."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys

import pyarrow as pa
import pytest

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry.errors import CorruptRecordError, SchemaError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.tables import RecordWarning
from esper_telemetry.tables.table import joined
from tests.esper_telemetry.tables.cells import assert_same, expected_rows

KILLED = """
import esper_telemetry as et, os, sys
run = et.start_run(sys.argv[1], name="r", run_id="exp")
for step in range(60):
    run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=step)
run.flush()
os.kill(os.getpid(), 9)
"""


def compare(runs, **choice) -> int:
    """Hold all tables of runs against what `read` gives, both ways; return how many rows there are."""
    expected = expected_rows(runs, **choice)
    for fast in (True, False):
        tables = et.tables(runs, fast=fast, **choice)
        by_full_name = {table.schema.metadata[b"full_name"].decode(): table for table in tables.values()}
        assert {name for name, table in by_full_name.items() if len(table)} == set(expected)
        for name, table in by_full_name.items():
            assert_same(table, expected.get(name, []))
    return sum(map(len, expected.values()))


@pytest.fixture
def killed(tmp_path):
    """The folder of a run that was killed, and resumed from step 50."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("SLURM", "TORCH"))}
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], timeout=60, check=False, env=environment)
    with et.start_run(tmp_path, name="r", resume="exp", resumed_from={"step": 50}) as run:
        for step in range(50, 80):
            run.emit(et.events.ScalarLogged, name="loss", value=3.0, step=step)
    return tmp_path / "exp"


def test_every_cell_of_a_run_is_what_read_gives(record_run):
    assert compare(record_run()) == 10


def test_runs_and_ranks_stand_beside_each_other(record_run, tmp_path):
    record_run(name="one", rank=0)
    record_run(name="two", rank=1)
    compare(tmp_path / "runs" / "*")
    table = et.table(tmp_path / "runs" / "*", "scalar.logged")
    assert len(set(table["run"].to_pylist())) == 2
    assert set(table["rank"].to_pylist()) == {0, 1}


def test_unset_is_null_and_nan_is_a_measurement(record_run):
    epochs = et.table(record_run(), "epoch.completed").to_pydict()
    assert str(epochs["train_loss"]) == "[nan]"
    assert epochs["val_accuracy"] == [0.0]
    assert epochs["train_accuracy"] == [None]


def test_a_type_of_the_sdk_without_events_is_an_empty_table(record_run):
    table = et.table(record_run(), "off_policy.update_completed")
    assert len(table) == 0
    assert {"run", "time", "env_id", "critic_loss"} <= set(table.column_names)
    assert table.schema.field("critic_loss").metadata[b"description"]


def test_a_type_that_is_given_as_a_class_is_an_empty_table_where_no_record_declares_it(tmp_path):
    with et.start_run(tmp_path, name="without") as run:
        run.emit(et.events.ScalarLogged, name="a", value=1.0)
    folder = run.folder
    table = et.table(folder, seed_pb2.SeedFossilized)
    assert len(table) == 0
    assert {"run", "time", "env_id", "slot_id"} <= set(table.column_names)
    with pytest.raises(SchemaError, match=r"no type 'seed\.fossilized' is declared by these records"):
        et.table(folder, "seed.fossilized")


def test_a_killed_run_and_its_resume_are_read_as_read_does(killed):
    with pytest.warns(RecordWarning, match="writer"):
        assert compare(killed) > 90
    with pytest.warns(RecordWarning):
        compare(killed, latest=True)
    with pytest.warns(RecordWarning):
        steps = et.table(killed, "scalar.logged", latest=True)["step"].to_pylist()
    assert sorted(steps) == list(range(80))


def test_events_are_chosen_by_time_number_and_environment(record_run, scalars, write_record):
    folder = record_run()
    middle = [event.time_unix_nano for event in et.read(folder)][6]
    assert compare(folder, envs=[1]) == 2
    assert compare(folder, envs=[99]) == 0
    assert compare(folder, first_seq=3, last_seq=5) == 3
    assert compare(folder, since=middle) + compare(folder, until=middle) == compare(folder)
    assert compare(folder, since=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)) == compare(folder)
    with pytest.raises(ValueError, match="has no time zone"):
        et.table(folder, "scalar.logged", since=dt.datetime(2020, 1, 1))  # noqa: DTZ001 - that is refused


def test_what_is_there_twice_is_given_once(write_record, scalars, tmp_path):
    write_record(scalars(9), scalars(4), path=tmp_path / "a.esr.zst")
    (tmp_path / "b.esr.zst").write_bytes((tmp_path / "a.esr.zst").read_bytes())
    with pytest.warns(RecordWarning, match="copy"):
        assert len(et.table([tmp_path / "a.esr.zst", tmp_path / "b.esr.zst"], "scalar.logged")) == 13


def test_damage_is_raised_or_passed_over_with_a_warning(write_record, scalars):
    path = write_record(scalars(500), scalars(500), scalars(500))
    content = bytearray(path.read_bytes())
    with RecordReader(path) as reader:
        frame = list(reader.frames())[1]
    content[frame.offset + 40 : frame.offset + 60] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(CorruptRecordError, match="recover"):
        et.table(path, "scalar.logged")
    with pytest.warns(RecordWarning):
        table = et.table(path, "scalar.logged", strict=False)
    with_read = [event.data["step"] for event in et.read(path, strict=False) if event.type == "scalar.logged"]
    assert table["step"].to_pylist() == with_read
    assert len(table) == 1000


def test_a_scan_gives_the_batches_of_the_table(record_run):
    folder = record_run()
    found = et.scan(folder, et.events.ScalarLogged)
    assert pa.Table.from_batches(found, schema=found.schema) == et.table(folder, "scalar.logged")
    assert found.to_reader().read_all().num_rows == 2
    assert list(found.warnings) == []


def test_one_type_is_asked_for_and_several_are_refused(record_run):
    folder = record_run()
    assert set(et.tables(folder, "seed.*")) == {name for name in et.tables(folder) if name.startswith("seed.")}
    with pytest.raises(ValueError, match="use tables"):
        et.table(folder, "seed.*")


def test_a_run_that_is_switched_off_has_no_row():
    assert len(et.table(None, "scalar.logged")) == 0
    assert et.tables(None) == {}


def test_many_small_chunks_become_one(record_run):
    table = et.table(record_run(), "scalar.logged")
    batch = table.to_batches()[0]

    class Layout:
        schema = table.schema

    assert joined(Layout, [batch] * 50)["seq"].num_chunks == 1


def test_the_slow_way_needs_pyarrow_alone(record_run):
    code = f"""
import sys
sys.modules["ptars"] = sys.modules["numpy"] = sys.modules["duckdb"] = None
import esper_telemetry as et
print(len(et.table({str(record_run())!r}, "scalar.logged")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2"


def test_a_missing_package_names_its_extra():
    code = """
import sys
sys.modules["pyarrow"] = None
import esper_telemetry as et
try: et.table("x", "y")
except et.TelemetryError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'esper-telemetry[query]'" in done.stdout
