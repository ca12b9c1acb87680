"""Which tables and columns there are is decided by the schema of all runs together, whatever happened in them."""

from __future__ import annotations

import pyarrow as pa
import pytest

import esper_telemetry as et
from esper_telemetry.decode.types import Schema
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import file_closure
from esper_telemetry.tables.layouts import Layouts
from tests.esper_telemetry.tables.stranger import event_class


def layouts_of(*classes) -> Layouts:
    layouts = Layouts()
    for cls in classes:
        layouts.add(Schema((file_closure([cls]).SerializeToString(),)), [cls.DESCRIPTOR.full_name])
    return layouts


def test_two_versions_of_a_type_are_one_table_with_the_fields_of_both(write_record, tmp_path):
    first = event_class("acme.v1", "beam.searched", width="uint64")
    second = event_class("acme.v1", "beam.searched", width="uint64", score="double")
    write_record([(first(width=3), {})], path=tmp_path / "a.esr.zst", run_id="a", producer_id=b"a" * 16)
    write_record([(second(width=4, score=0.5), {})], path=tmp_path / "b.esr.zst", run_id="b", producer_id=b"b" * 16)
    table = et.table(tmp_path / "*.esr.zst", "beam.searched")
    assert table.select(["run", "width", "score"]).to_pylist() == [
        {"run": "a", "width": 3, "score": None},
        {"run": "b", "width": 4, "score": 0.5},
    ]


def test_two_types_with_one_short_name_have_their_full_names(write_record, tmp_path):
    ours, theirs = event_class("acme.v1", "beam.searched", width="uint64"), event_class("rival.v1", "beam.searched")
    write_record([(ours(width=3), {})], path=tmp_path / "a.esr.zst", run_id="a", producer_id=b"a" * 16)
    write_record([(theirs(), {})], path=tmp_path / "b.esr.zst", run_id="b", producer_id=b"b" * 16)
    names = {name for name in et.tables(tmp_path / "*.esr.zst") if "Happened" in name or "beam" in name}
    assert names == {"acme.v1.Happened", "rival.v1.Happened"}
    assert "beam.searched" in et.tables(tmp_path / "a.esr.zst"), "alone it has the short one"
    with pytest.raises(SchemaError, match=r"several types; use one of acme\.v1\.Happened, rival\.v1\.Happened"):
        et.table(tmp_path / "*.esr.zst", "beam.searched")


def test_a_name_of_the_payload_is_its_own_and_the_envelope_gives_way():
    layout = layouts_of(
        event_class("acme.v1", "x", time="double", step="uint64", rank="int32", context_rank="int32")
    ).of("acme.v1.Happened")
    assert layout.base["time"] == "time_"
    assert layout.base["rank"] == "rank_"
    assert layout.context["step"] == "context_step"
    assert layout.context["rank"] == "context_rank_"
    assert layout.schema.field("time").type == pa.float64()
    assert layout.payload == ("time", "step", "rank", "context_rank")


def test_units_and_descriptions_are_in_the_metadata_of_the_columns(record_run):
    schema = et.table(record_run(lambda run: None), "epoch.completed").schema
    assert schema.metadata[b"full_name"] == b"esper_telemetry.v1.EpochCompleted"
    assert schema.metadata[b"description"].startswith(b"An epoch ended")
    assert schema.field("val_accuracy").metadata[b"unit"] == b"%"
    assert schema.field("val_accuracy").metadata[b"goal"] == b"MAXIMIZE"
    assert schema.field("val_loss").metadata[b"description"] == b"Mean validation loss after the epoch."
    assert schema.field("env_id").metadata[b"description"] == b"Environment of the process, from 0."
    heads = et.table(record_run(lambda run: None), "ppo.update_completed").schema.field("heads")
    assert heads.metadata[b"unit of entropy"] == b"nat"


def test_a_field_that_has_two_types_is_refused_with_both():
    with pytest.raises(SchemaError, match=r"acme\.v1\.Happened\.width is uint64 in one record and double in another"):
        layouts_of(event_class("acme.v1", "x", width="uint64"), event_class("acme.v1", "x", width="double"))


def test_a_misspelt_type_is_refused_with_what_was_meant(record_run):
    folder = record_run()
    with pytest.raises(SchemaError, match=r"no type 'seed\.cullled' .* did you mean seed\.culled"):
        et.table(folder, "seed.cullled")
    with pytest.raises(SchemaError, match="the types are "):
        et.table(folder, "nothing like it")
