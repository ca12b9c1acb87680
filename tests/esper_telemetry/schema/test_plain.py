"""What a reader sees of a message: `.data` and JSON."""

from __future__ import annotations

import base64
import json
import math
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format
from hypothesis import given

from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry.schema import enum_labels, is_map, is_repeated, json_ready, to_plain
from esper_telemetry.v1 import record_pb2, run_pb2, training_pb2
from tests.esper_telemetry.schema.strategies import EVENTS, MESSAGES, THOROUGH, full, messages, name_of


@pytest.mark.parametrize("cls", MESSAGES, ids=name_of)
def test_every_field_of_a_full_message_is_shown(cls):
    shown = [name for message in full(cls) for name in to_plain(message)]
    assert set(shown) == set(cls.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("cls", MESSAGES, ids=name_of)
def test_nothing_of_an_empty_message_is_shown(cls):
    assert to_plain(cls()) == {}


def test_zero_that_was_measured_is_shown_and_what_was_not_measured_is_absent():
    assert to_plain(training_pb2.PpoUpdateCompleted(lr=0.0, skipped=False)) == {"lr": 0.0, "skipped": False}


def test_an_enum_is_shown_by_its_label_or_by_its_name_less_the_prefix():
    culled = seed_pb2.SeedStageChanged(from_stage=seed_pb2.SEED_STAGE_BLENDING, to_stage=seed_pb2.SEED_STAGE_CULLED)
    assert to_plain(culled) == {"from_stage": "BLENDING", "to_stage": "CULLED"}
    reason = trainer_pb2.CounterfactualComputed(reason=trainer_pb2.UNAVAILABLE_REASON_MISSING_BASELINE)
    assert to_plain(reason) == {"reason": "missing_baseline"}


def test_an_enum_number_of_the_future_is_shown_as_the_number():
    assert to_plain(seed_pb2.SeedStageChanged(to_stage=99)) == {"to_stage": 99}


def test_no_shown_name_of_an_enum_keeps_its_prefix_or_repeats():
    for cls in MESSAGES:
        for enum in (field.enum_type for field in cls.DESCRIPTOR.fields if field.enum_type is not None):
            shown = enum_labels(enum)
            assert len(set(shown.values())) == len(shown), enum.full_name
            assert all(shown[value.number] != value.name for value in enum.values), enum.full_name


def test_of_two_names_for_one_number_the_first_is_shown():
    file = descriptor_pb2.FileDescriptorProto(name="alias.proto", package="alias", syntax="proto3")
    enum = file.enum_type.add(name="FuelKind")
    enum.options.allow_alias = True
    for name, number in (("FUEL_KIND_UNSPECIFIED", 0), ("FUEL_KIND_PETROL", 1), ("FUEL_KIND_GASOLINE", 1)):
        enum.value.add(name=name, number=number)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    assert enum_labels(pool.FindEnumTypeByName("alias.FuelKind")) == {0: "UNSPECIFIED", 1: "PETROL"}


def test_nested_messages_lists_and_maps_become_dicts_and_lists():
    finished = run_pb2.RunFinished(
        results={"val_accuracy": 0.9},
        drops=[{"full_name": "a.B", "cause": run_pb2.DROP_CAUSE_BUFFER_FULL, "count": 0}],
    )
    assert to_plain(finished) == {
        "results": {"val_accuracy": 0.9},
        "drops": [{"full_name": "a.B", "cause": "buffer_full", "count": 0}],
    }
    assert type(to_plain(finished)["results"]) is dict


def test_bytes_stay_bytes_in_data_and_become_base64_in_json():
    data = to_plain(record_pb2.Event(payload=b"\x00\xff"))
    assert data == {"payload": b"\x00\xff"}
    assert base64.b64decode(json_ready(data)["payload"]) == b"\x00\xff"


def test_what_is_not_finite_is_a_float_in_data_and_a_word_in_json():
    data = to_plain(training_pb2.RewardSummary(summary={"a": math.nan, "b": math.inf, "c": -math.inf}))
    assert math.isnan(data["summary"]["a"])
    assert json_ready(data) == {"summary": {"a": "NaN", "b": "Infinity", "c": "-Infinity"}}


def test_numbers_as_keys_of_a_map_become_text_in_json():
    data = to_plain(record_pb2.Index(type_counts={3: 4}))
    assert data == {"type_counts": {3: 4}}
    assert json_ready(data) == {"type_counts": {"3": 4}}


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_any_event_is_json_that_a_strict_parser_reads_back(cls):
    @THOROUGH
    @given(messages(cls))
    def check(message):
        ready = json_ready(to_plain(message))
        assert json.loads(json.dumps(ready, allow_nan=False)) == ready

    check()


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_the_set_fields_are_those_protobuf_itself_shows(cls):
    @THOROUGH
    @given(messages(cls))
    def check(message):
        shown = json_format.MessageToDict(message, preserving_proto_field_name=True)
        assert set(to_plain(message)) == set(shown)

    check()


def test_the_shape_of_a_field_is_told_apart():
    fields = training_pb2.MaskHitRates.DESCRIPTOR.fields_by_name
    assert [(is_map(fields[n]), is_repeated(fields[n])) for n in ("mask_hits", "heads", "batches")] == [
        (True, True),
        (False, True),
        (False, False),
    ]


def test_plain_needs_no_numpy():
    code = "import sys; import esper_telemetry.schema; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
