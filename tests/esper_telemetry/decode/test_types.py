"""Types from descriptors alone."""

from __future__ import annotations

import pytest

from esper.v1 import seed_pb2
from esper_telemetry.decode.types import KindTable, Schema, descriptor_of, field_metas, segment_schema
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.schema import context_closure, encode_context, file_closure
from esper_telemetry.v1 import training_pb2


@pytest.fixture
def schema():
    files = file_closure([seed_pb2.SeedCulled, training_pb2.PpoUpdateCompleted])
    return Schema((context_closure().SerializeToString(), files.SerializeToString()))


def test_a_kind_has_the_short_name_of_its_descriptors(schema):
    assert schema.kind("esper.v1.SeedCulled").name == "seed.culled"
    assert schema.kind("esper.v1.SeedCulled") is schema.kind("esper.v1.SeedCulled")


def test_a_type_without_descriptors_keeps_its_full_name(schema):
    kind = schema.kind("acme.v1.Beam")
    assert (kind.name, kind.cls, kind.plain) == ("acme.v1.Beam", None, None)
    with pytest.raises(CorruptRecordError, match=r"no descriptors of acme\.v1\.Beam"):
        kind.parse(b"")


def test_a_payload_that_does_not_fit_is_refused(schema):
    with pytest.raises(CorruptRecordError, match=r"does not fit its type esper\.v1\.SeedCulled"):
        schema.kind("esper.v1.SeedCulled").parse(b"\xff\xff")


def test_an_undeclared_id_has_a_name_of_its_own(schema):
    kinds = KindTable(schema, {3: "esper.v1.SeedCulled"})
    assert kinds[3].name == "seed.culled"
    assert kinds[9].name == "type:9"


def test_a_context_is_decoded_once(schema):
    context = encode_context({"env_id": 0, "device": "cpu"})
    assert schema.context(context) == {"env_id": 0, "device": "cpu"}
    assert schema.context(context) is schema.context(context)
    assert schema.context(b"\xff") == {"context": b"\xff"}, "kept, not fatal"


def test_a_message_can_be_made_again_from_its_plain_form(schema):
    kind = schema.kind("esper.v1.SeedCulled")
    message = kind.parse(seed_pb2.SeedCulled(slot_id="mid", from_stage="SEED_STAGE_BLENDING").SerializeToString())
    assert kind.message_of(kind.plain(message)) == message


def test_units_reach_into_nested_messages():
    metas = field_metas(training_pb2.PpoUpdateCompleted.DESCRIPTOR)
    assert metas["update_time_ms"].unit == "ms"
    assert metas["heads.clip_fraction"].max == 1


def test_segments_with_the_same_descriptors_share_their_classes(write_record, scalars, tmp_path):
    schemas = []
    for name in ("a", "b"):
        with RecordReader(write_record(scalars(1), path=tmp_path / f"{name}.esr.zst")) as reader:
            schemas.append(segment_schema(reader.segments[0], reader.path))
    assert schemas[0] is schemas[1]
    assert descriptor_of(schemas[0].kind("esper_telemetry.v1.ScalarLogged").cls).name == "ScalarLogged"


def test_descriptors_that_are_none_are_refused(write_record, scalars):
    with RecordReader(write_record(scalars(1))) as reader:
        reader.segments[0].descriptor_sets.append(b"\x0a\xff")
        with pytest.raises(CorruptRecordError, match="descriptors are invalid"):
            segment_schema(reader.segments[0], reader.path)
