"""A data set holds every row once, whatever engine reads it, however often it grows, and wherever it is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyarrow import parquet

import esper_telemetry as et
from esper_telemetry.errors import ConfigError
from esper_telemetry.exports import export_dataset
from esper_telemetry.exports.dataset import escaped
from esper_telemetry.exports.exportforms import LEVEL
from esper_telemetry.exports.manifest import NAME
from esper_telemetry.exports.parquetparts import PartWriter
from esper_telemetry.exports.target import Target, hidden_name
from tests.esper_telemetry.tables.cells import assert_same, expected_rows
from tests.esper_telemetry.tables.stranger import event_class

STRANGE = ["0012", "1e5", "2026-11-28", "true", "lr=0.1", "null", "a,b@c"]


def files(folder) -> dict[str, int]:
    """Return the parts of a data set with the times of their last change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in Path(folder).rglob("*.parquet")}


def read_type(folder, name) -> pa.Table:
    """Return a type of a data set with its times in nanoseconds, as tables have them."""
    table = ds.dataset(folder / name, format="parquet").to_table()
    time = "time_" if "time_" in table.column_names else "time"
    nanos = [
        None if moment is None else moment * 1000 + rest
        for moment, rest in zip(table[time].cast(pa.int64()).to_pylist(), table[f"{time}_ns"].to_pylist(), strict=True)
    ]
    table = table.drop_columns(f"{time}_ns")
    return table.set_column(table.column_names.index(time), time, pa.array(nanos, pa.timestamp("ns", "UTC")))


def record(folder, run_id, count, first=0):
    with et.start_run(folder, name="r", run_id=run_id) as run:
        for step in range(first, first + count):
            run.emit(et.events.ScalarLogged, name="loss", value=step / 2, step=step)


@pytest.mark.parametrize("by", ["type", "type,run", "type,date"])
def test_every_row_is_what_read_gives(record_run, tmp_path, by):
    record_run(name="one")
    record_run(name="two")
    report = export_dataset(tmp_path / "runs" / "*", tmp_path / "data", by=by)
    expected = expected_rows(tmp_path / "runs" / "*")
    manifest = json.loads((tmp_path / "data" / NAME).read_text())
    assert report.rows == sum(map(len, expected.values()))
    for folder, full_name in manifest["folders"].items():
        if folder != "runs":
            assert_same(read_type(tmp_path / "data", folder), expected.get(full_name, []))
    assert set(expected) < set(manifest["folders"].values()), "declared types without events are there, without rows"


def test_a_second_export_touches_only_what_is_new(tmp_path):
    record(tmp_path / "runs", "a", 5)
    assert export_dataset(tmp_path / "runs" / "*", tmp_path / "data").streams == 1
    before = files(tmp_path / "data")
    report = export_dataset(tmp_path / "runs" / "*", tmp_path / "data")
    assert (report.rows, report.files, files(tmp_path / "data")) == (0, 0, before)
    record(tmp_path / "runs", "b", 3)
    with et.start_run(tmp_path / "runs", name="r", resume="a") as run:
        run.emit(et.events.ScalarLogged, name="loss", value=9.0, step=9)
        run.flush()
        assert export_dataset(tmp_path / "runs" / "*", tmp_path / "data").rows == 5 + 3
        run.emit(et.events.ScalarLogged, name="loss", value=10.0, step=10)
    export_dataset(tmp_path / "runs" / "*", tmp_path / "data")
    after = files(tmp_path / "data")
    kept = {name: time for name, time in before.items() if not name.startswith("runs/")}
    assert {name: after.get(name) for name in kept} == kept
    for name, full_name in (("scalar.logged", "ScalarLogged"), ("run.started", "RunStarted")):
        expected = expected_rows(tmp_path / "runs" / "*")[f"esper_telemetry.v1.{full_name}"]
        assert_same(read_type(tmp_path / "data", name), expected)
    runs = parquet.read_table(tmp_path / "data" / "runs")
    assert sorted(zip(runs["run"].to_pylist(), runs["attempts"].to_pylist(), strict=True)) == [("a", 2), ("b", 1)]


KILLED_AT = """
import os, signal, sys
from esper_telemetry.exports import export_dataset
from esper_telemetry.exports.target import Target
left = int(sys.argv[3])
def counted(method):
    def call(self, *arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(self, *arguments)
    return call
for name in ("create", "move", "remove", "sync"):
    setattr(Target, name, counted(getattr(Target, name)))
export_dataset(sys.argv[1], sys.argv[2])
"""


def test_an_export_that_is_killed_anywhere_leaves_nothing_torn_and_is_made_good(tmp_path):
    record(tmp_path / "runs", "a", 5)
    export_dataset(tmp_path / "runs" / "a", tmp_path / "whole")
    record(tmp_path / "runs", "b", 3)
    expected = expected_rows(tmp_path / "runs" / "*")["esper_telemetry.v1.ScalarLogged"]
    for left in (0, 3, 47, 52, 53, 54, 55, 80, 103, 400):
        data = tmp_path / f"data{left}"
        export_dataset(tmp_path / "runs" / "a", data)
        command = [sys.executable, "-c", KILLED_AT, str(tmp_path / "runs" / "*"), str(data), str(left)]
        code = subprocess.run(command, check=False).returncode
        assert code in (0, -signal.SIGKILL)
        for path in data.rglob("*.parquet"):
            parquet.read_table(path)
        export_dataset(tmp_path / "runs" / "*", data)
        assert_same(read_type(data, "scalar.logged"), expected)
    assert code == 0, "the last kill was to come behind the end"


def test_names_that_look_like_something_else_stay_texts_in_every_engine(tmp_path):
    for name in STRANGE:
        record(tmp_path / "runs", name, 2)
    export_dataset(tmp_path / "runs" / "*", tmp_path / "data", by="type,run")
    folder = tmp_path / "data" / "scalar.logged"
    assert len(list(folder.iterdir())) == len(STRANGE)
    by_arrow = ds.dataset(folder, format="parquet").to_table()
    by_polars = pl.scan_parquet(f"{folder}/**/*.parquet").collect()
    by_duckdb = duckdb.sql(f"FROM '{folder}/**/*.parquet' SELECT run, value")
    expected = sorted(STRANGE * 2)
    assert sorted(by_arrow["run"].to_pylist()) == expected
    assert sorted(by_polars["run"].to_list()) == expected
    assert sorted(run for run, _ in by_duckdb.fetchall()) == expected
    assert set(by_polars.columns) == set(by_arrow.column_names), "no engine makes a column of a folder"
    assert by_polars["value"].dtype == pl.Float64


def test_a_name_of_a_folder_neither_hides_it_nor_makes_a_column():
    assert [escaped(name) for name in ("a=b", "_x", ".x", "a/b", "a%b", "0012")] == [
        "a%3Db",
        "%5Fx",
        "%2Ex",
        "a%2Fb",
        "a%25b",
        "0012",
    ]


def test_nan_is_found_by_duckdb_because_reals_have_no_statistics(tmp_path):
    with et.start_run(tmp_path / "runs", name="r", run_id="a") as run:
        for value in (1.0, float("nan"), 10.0):
            run.emit(et.events.ScalarLogged, name="loss", value=value)
    export_dataset(tmp_path / "runs" / "*", tmp_path / "data")
    source = f"'{tmp_path}/data/scalar.logged/*.parquet'"
    assert duckdb.sql(f"FROM {source} SELECT count(*) WHERE isnan(value)").fetchall() == [(1,)]
    assert str(duckdb.sql(f"FROM {source} SELECT max(value)").fetchall()) == "[(nan,)]"
    assert duckdb.sql(f"FROM {source} SELECT count(*) WHERE value > 5").fetchall() == [(2,)]
    (path,) = (tmp_path / "data" / "scalar.logged").iterdir()
    group = parquet.ParquetFile(path).metadata.row_group(0)
    told = {group.column(at).path_in_schema: group.column(at).is_stats_set for at in range(group.num_columns)}
    assert not told["value"]
    assert told["time"]
    assert told["run"]


def test_a_field_that_a_later_version_adds_is_null_in_all_parts_before(write_record, tmp_path):
    first = event_class("acme.v1", "beam.searched", width="uint64")
    second = event_class("acme.v1", "beam.searched", width="uint64", score="double")
    write_record([(first(width=3), {})], path=tmp_path / "a.esr.zst", run_id="a", producer_id=b"a" * 16)
    export_dataset(tmp_path / "a.esr.zst", tmp_path / "data")
    write_record([(second(width=4, score=0.5), {})], path=tmp_path / "b.esr.zst", run_id="b", producer_id=b"b" * 16)
    export_dataset(tmp_path / "b.esr.zst", tmp_path / "data")
    found = duckdb.sql(
        f"FROM '{tmp_path}/data/beam.searched/*.parquet' SELECT run, width, score ORDER BY run"
    ).fetchall()
    assert found == [("a", 3, None), ("b", 4, 0.5)]


def test_units_are_in_the_metadata_of_a_part(record_run, tmp_path):
    export_dataset(record_run(), tmp_path / "data")
    (path,) = (tmp_path / "data" / "epoch.completed").iterdir()
    about = parquet.read_metadata(path).metadata
    assert about[b"full_name"] == b"esper_telemetry.v1.EpochCompleted"
    assert json.loads(about[b"units"])["val_accuracy"] == "%"


def test_a_remote_target_holds_the_same(record_run, tmp_path):
    folder = record_run()
    export_dataset(folder, tmp_path / "data")
    export_dataset(folder, "memory://bucket/data")
    export_dataset(folder, "memory://bucket/data")
    memory = fsspec.filesystem("memory")
    remote = {name.removeprefix("/bucket/data/") for name in memory.find("/bucket/data") if name.endswith(".parquet")}
    assert remote == set(files(tmp_path / "data"))
    with memory.open(memory.find("/bucket/data/seed.culled")[0], "rb") as file:
        assert parquet.read_table(file)["slot_id"].to_pylist() == ["mid"]
    with pytest.raises(ConfigError, match="fsspec knows no such URL"):
        export_dataset(folder, "nothing://x")


def test_a_data_set_keeps_its_partitions(record_run, tmp_path):
    folder = record_run()
    export_dataset(folder, tmp_path / "data")
    with pytest.raises(ConfigError, match="partitioned by 'type', not 'type,run'"):
        export_dataset(folder, tmp_path / "data", by="type,run")
    with pytest.raises(ConfigError, match="by is 'day'"):
        export_dataset(folder, tmp_path / "other", by="day")


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    target = Target(tmp_path)
    assert target.read("a/b.json") is None
    target.write("a/b.json", b"1")
    target.write("a/b.json", b"22")
    assert target.read("a/b.json") == b"22"
    assert target.size("a/b.json") == 2
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]
    assert hidden_name("a/b.json") == "a/.b.json.partial"
    target.remove("a/b.json")
    target.remove("a/b.json")
    assert not target.exists("a/b.json")


def test_losses_are_reported(write_record, scalars, tmp_path):
    report = export_dataset(write_record(scalars(3), close=False), tmp_path / "data")
    assert report.warnings
    assert report.rows == 3


def test_a_part_has_row_groups_as_they_were_written(tmp_path):
    schema = pa.schema([("x", pa.float64())])
    with (tmp_path / "x.parquet").open("wb") as file:
        writer = PartWriter(file, schema, LEVEL)
        for _ in range(3):
            writer.write([pa.record_batch([pa.array([1.0, 2.0])], schema=schema)])
        writer.close()
    assert parquet.ParquetFile(tmp_path / "x.parquet").num_row_groups == 3
