"""Descriptors in and out of a record: closure, comments, and classes made from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from esper.v1 import seed_pb2
from esper_telemetry.errors import CorruptRecordError, SchemaError
from esper_telemetry.schema import (
    SchemaPool,
    context_closure,
    event_classes,
    event_type,
    file_closure,
    proto_include,
)
from esper_telemetry.v1 import options_pb2, run_pb2, training_pb2
from tests.esper_telemetry.schema.strategies import EVENTS, MESSAGES, MODULES, name_of

OPTIONS = "esper_telemetry/v1/options.proto"
CULLED = ["esper.v1.SeedStage", OPTIONS, "esper.v1.SeedCulled"]


def names(files: descriptor_pb2.FileDescriptorSet) -> list[str]:
    return [file.name for file in files.file]


def test_a_file_comes_after_all_it_imports_and_once():
    closure = file_closure([seed_pb2.SeedCulled, training_pb2.ScalarLogged, seed_pb2.SeedStageChanged])
    assert names(closure) == [
        *CULLED,
        "esper_telemetry.v1.ScalarLogged",
        "esper.v1.SeedStageChanged",
    ]


def test_what_the_reader_has_is_left_out_with_all_it_imports():
    assert names(file_closure([seed_pb2.SeedCulled], known=[OPTIONS])) == [CULLED[0], CULLED[2]]
    assert names(file_closure([seed_pb2.SeedCulled], known=CULLED[2:])) == []


def test_every_file_carries_what_an_event_may_have_beside_its_message():
    assert names(context_closure()) == [OPTIONS, "esper_telemetry.v1.Context"]
    pool = SchemaPool()
    pool.add(context_closure().SerializeToString())
    step = pool.message_class("esper_telemetry.v1.Context").DESCRIPTOR.fields_by_name["step"]
    assert step.GetOptions().Extensions[options_pb2.meta].unit == "{step}"


def comments(file: descriptor_pb2.FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.DESCRIPTOR.name)
def test_every_message_field_and_value_carries_its_comment(module):
    classes = [cls for cls in MESSAGES if cls.DESCRIPTOR.file is module.DESCRIPTOR]
    for file in file_closure(classes, known=[OPTIONS]).file:
        said = comments(file)
        for m, message in enumerate(file.message_type):
            assert said.get((4, m)), f"{message.name} has no comment"
            for f, field in enumerate(message.field):
                assert said.get((4, m, 2, f)), f"{message.name}.{field.name} has no comment"
        for e, enum in enumerate(file.enum_type):
            for v, value in enumerate(enum.value):
                assert said.get((5, e, 2, v)), f"{enum.name}.{value.name} has no comment"


def stranger_class(name: str, fields: int = 1) -> type:
    """Return a class made at run time: nothing on disk knows it."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=name, syntax="proto3")
    message = file.message_type.add(name="Event")
    for number in range(1, fields + 1):
        message.field.add(name=f"f_{number:>0700}", number=number, type=1, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{name}.Event"))


def test_a_class_whose_package_ships_no_comments_is_carried_without():
    file = file_closure([stranger_class("quiet_stranger")]).file[0]
    assert file.name == "quiet_stranger.Event"
    assert not file.source_code_info.location


def test_comments_of_another_version_of_the_file_are_not_taken(tmp_path, monkeypatch):
    cls = stranger_class("moved_on")
    other = descriptor_pb2.FileDescriptorSet()
    other.file.add(name="moved_on.proto", package="moved_on").source_code_info.location.add(
        path=[4, 0], leading_comments="About something else."
    )
    (tmp_path / "schema.binpb").write_bytes(other.SerializeToString())
    module = type(sys)("moved_on_pb2")
    module.__file__ = str(tmp_path / "moved_on_pb2.py")
    monkeypatch.setitem(sys.modules, "moved_on_pb2", module)
    monkeypatch.setattr(cls, "__module__", "moved_on_pb2")
    assert not file_closure([cls]).file[0].source_code_info.location


def test_a_damaged_comment_file_costs_the_comments_only(tmp_path, monkeypatch):
    cls = stranger_class("damaged")
    (tmp_path / "schema.binpb").write_bytes(b"\xff" * 40)
    module = type(sys)("damaged_pb2")
    module.__file__ = str(tmp_path / "damaged_pb2.py")
    monkeypatch.setitem(sys.modules, "damaged_pb2", module)
    monkeypatch.setattr(cls, "__module__", "damaged_pb2")
    assert names(file_closure([cls])) == ["damaged.Event"]


def test_descriptors_over_the_limit_of_the_format_are_refused_with_the_next_step():
    with pytest.raises(SchemaError, match=r"over the format's 1,048,576; split the events"):
        file_closure([stranger_class("giant", fields=1_600)])


@pytest.mark.parametrize("cls", EVENTS, ids=name_of)
def test_units_and_policy_reach_a_reader_that_has_no_generated_code(cls):
    pool = SchemaPool()
    pool.add(file_closure([cls]).SerializeToString())
    stranger = pool.message_class(cls.DESCRIPTOR.full_name).DESCRIPTOR
    for field in cls.DESCRIPTOR.fields:
        theirs = stranger.fields_by_name[field.name].GetOptions().SerializeToString()
        assert theirs == field.GetOptions().SerializeToString()
    assert stranger.GetOptions().SerializeToString() == cls.DESCRIPTOR.GetOptions().SerializeToString()


def test_a_pool_takes_a_file_once_and_shows_what_it_has():
    pool = SchemaPool()
    for _ in range(2):
        pool.add(file_closure([seed_pb2.SeedCulled]).SerializeToString())
    assert list(pool.files) == CULLED
    pool.files.clear()
    assert pool.files


def test_pools_do_not_know_each_other():
    first, second = SchemaPool(), SchemaPool()
    first.add(file_closure([seed_pb2.SeedCulled]).SerializeToString())
    with pytest.raises(CorruptRecordError, match=r"do not declare esper\.v1\.SeedCulled"):
        second.message_class("esper.v1.SeedCulled")


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xff\xff\xff",
        file_closure([seed_pb2.SeedCulled]).SerializeToString()[:-10],
        file_closure([seed_pb2.SeedCulled], known=[OPTIONS]).SerializeToString(),
        descriptor_pb2.FileDescriptorSet(file=[{"name": "a.proto", "dependency": ["a.proto"]}]).SerializeToString(),
    ],
    ids=["noise", "cut", "import_missing", "imports_itself"],
)
def test_damaged_descriptors_are_refused_as_a_corrupt_record(damaged):
    with pytest.raises(CorruptRecordError, match="embedded descriptors are invalid"):
        SchemaPool().add(damaged)


def test_a_name_that_is_no_message_is_refused():
    pool = SchemaPool()
    pool.add(file_closure([seed_pb2.SeedCulled]).SerializeToString())
    for name in ("esper.v1.SeedStage", "esper.v1.Nope", "", "esper.v1"):
        with pytest.raises(CorruptRecordError, match="do not declare"):
            pool.message_class(name)


def test_the_events_of_a_module_are_found_in_the_order_of_its_file():
    assert [event_type(cls).name for cls in event_classes(run_pb2)] == [
        "run.started",
        "run.configured",
        "run.resumed",
        "run.finished",
        "stream.finished",
        "telemetry.disabled",
        "telemetry.level_changed",
        "telemetry.clock_reanchored",
        "telemetry.dropped",
    ]
    assert event_classes(options_pb2) == []


@pytest.mark.parametrize(
    "wrong", [sys, "acme.v1.beam_pb2", seed_pb2.SeedCulled, None], ids=lambda value: type(value).__name__
)
def test_what_is_no_generated_module_is_refused_with_an_example(wrong):
    with pytest.raises(SchemaError, match=r"pass one such as acme\.v1\.beam_pb2"):
        event_classes(wrong)


def test_the_include_path_is_printed_for_protoc_and_holds_the_options():
    printed = subprocess.run(
        [sys.executable, "-m", "esper_telemetry.schema"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(printed) == proto_include()
    assert (proto_include() / OPTIONS).is_file()
