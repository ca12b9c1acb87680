"""Descriptors without what a reader can add again: they come back byte for byte, or are left as they were."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, type_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from esper.v1 import seed_pb2
from esper_telemetry.schema import SchemaPool, event_classes, file_closure
from esper_telemetry.schema.bare_files import made_bare, made_whole
from esper_telemetry.schema.builtin import built_in_types
from esper_telemetry.v1 import context_pb2, run_pb2


def descriptors_of(*classes) -> bytes:
    return file_closure(classes).SerializeToString(deterministic=True)


def set_of(*files) -> bytes:
    return FileDescriptorSet(file=files).SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "classes",
    [
        [context_pb2.Context, run_pb2.RunStarted, run_pb2.RunFinished],
        [kind.cls for kind in built_in_types()],
        event_classes(seed_pb2),
        [type_pb2.Type, wrappers_pb2.DoubleValue],
        [descriptor_pb2.FileDescriptorSet],
    ],
    ids=["a short run", "all types", "of another package", "of protobuf", "proto2"],
)
def test_descriptors_come_back_byte_for_byte(classes):
    descriptors = descriptors_of(*classes)
    bare, text = made_bare(descriptors)
    assert made_whole(bare, text) == descriptors


def test_names_and_comments_are_text_and_nothing_of_them_is_left_in_the_files():
    descriptors = descriptors_of(run_pb2.RunFinished)
    bare, text = made_bare(descriptors)
    assert len(bare) + len(text) < 0.9 * len(descriptors)
    assert "RunFinished Last event of a run." in text.split("\n")
    for file in FileDescriptorSet.FromString(bare).file:
        assert not file.name
        assert not file.source_code_info.location
        for message in file.message_type:
            assert not message.name
            assert not message.oneof_decl
            assert not any(field.name or field.HasField("oneof_index") for field in message.field)
    pool = SchemaPool()
    pool.add(made_whole(bare, text))
    assert pool.message_class("esper_telemetry.v1.RunFinished").DESCRIPTOR.fields_by_name["outcome"].number == 1


def everything() -> FileDescriptorProto:
    """Return a file with what ours have not: gaps in numbers, real oneofs beside others, nested things, extensions."""
    file = FileDescriptorProto(name="any/name.proto", package="a.b", syntax="proto3")
    message = file.message_type.add(name="M", oneof_decl=[{"name": "real"}, {"name": "_c"}, {"name": "_d"}])
    message.field.add(name="a", number=7, label=1, type=5, oneof_index=0)
    message.field.add(name="b", number=8, label=1, type=9, oneof_index=0)
    message.field.add(name="c", number=3, label=1, type=5, oneof_index=1, proto3_optional=True)
    message.field.add(name="d", number=4, label=1, type=5, oneof_index=2, proto3_optional=True)
    message.field.add(name="e", number=1, label=3, type=5)
    nested = message.nested_type.add(name="N", enum_type=[{"name": "E", "value": [{"name": "E_ZERO", "number": 0}]}])
    nested.field.add(name="n", number=1, label=1, type=5)
    file.enum_type.add(name="F", value=[{"name": "F_ZERO", "number": 0}, {"name": "F_TEN", "number": 10}])
    file.extension.add(name="x", number=50_000, label=1, type=5, extendee=".google.protobuf.FieldOptions")
    file.dependency.append("google/protobuf/descriptor.proto")
    for path, text in (([4, 0], "Of M."), ([4, 0, 2, 1], "Of b, with words."), ([4, 0, 3, 0, 4, 0, 2, 0], "Zero.")):
        file.source_code_info.location.add(path=path, leading_comments=text)
    return file


def test_what_ours_have_not_comes_back_too():
    descriptors = set_of(everything())
    bare, text = made_bare(descriptors)
    lines = ["any/name.proto", "M Of M.", "a", "b Of b, with words.", "c", "d", "e", "real", "N", "n", "E"]
    assert text.split("\n") == [*lines, "E_ZERO Zero.", "F", "F_ZERO", "F_TEN", "x"]
    (file,) = FileDescriptorSet.FromString(bare).file
    assert [field.number for field in file.message_type[0].field] == [7, 0, 3, 0, 1]
    assert [one.name for one in file.message_type[0].oneof_decl] == [""]
    assert made_whole(bare, text) == descriptors


def odd(change) -> FileDescriptorProto:
    file = everything()
    change(file)
    return file


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.source_code_info.location.add(path=[4, 0, 2, 0], leading_comments=" Two\n lines.\n"),
        lambda file: file.source_code_info.location.add(path=[4, 0, 2, 0], span=[1, 2, 3], leading_comments="A."),
        lambda file: file.source_code_info.location.add(path=[4, 0, 8, 0, 3], leading_comments="Of no place."),
        lambda file: file.source_code_info.location.add(path=[4, 0], leading_comments="Again."),
        lambda file: file.message_type[0].field[0].ClearField("number"),
        lambda file: setattr(file.message_type[0].oneof_decl[1], "name", "other"),
        lambda file: setattr(file.message_type[0], "name", "with space"),
        lambda file: setattr(file.message_type[0].field[2], "oneof_index", 0),
        lambda file: setattr(file, "syntax", "proto2"),
        lambda file: file.ClearField("name"),
    ],
)
def test_a_file_that_would_not_come_back_is_left_as_it_is(change):
    descriptors = set_of(everything(), odd(change))
    bare, text = made_bare(descriptors)
    assert made_whole(bare, text) == descriptors
    if FileDescriptorSet.FromString(bare).file[0].name == "":
        assert FileDescriptorSet.FromString(bare).file[1] == odd(change)


def test_bytes_that_are_no_descriptors_are_left_as_they_are():
    assert made_bare(b"\xff") == (b"\xff", "")


def test_a_text_of_too_few_lines_makes_names_that_no_pool_takes():
    bare, text = made_bare(descriptors_of(run_pb2.RunFinished))
    whole = made_whole(bare, text[: len(text) // 2])
    with pytest.raises(Exception, match="invalid"):
        SchemaPool().add(whole)
