"""Comments of .proto files, found by descriptor."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool

from esper_telemetry.schema.comments import Comments
from esper_telemetry.schema.definitions import commented_files
from esper_telemetry.v1 import options_pb2, run_pb2

COMMENTS = Comments(commented_files(Path(run_pb2.__file__).parent).values())


def test_messages_fields_enums_and_values_have_what_the_file_says():
    finished, cause = run_pb2.RunFinished.DESCRIPTOR, run_pb2.DropCause.DESCRIPTOR
    assert COMMENTS.of_message(finished) == "Last event of a run."
    assert COMMENTS.of_field(finished, 0) == "How it ended."
    assert COMMENTS.of_enum(cause) == "Why an event was lost."
    assert COMMENTS.of_value(cause, 1) == "The buffer was full."


def test_a_comment_of_several_lines_is_one_line():
    assert COMMENTS.of_enum(options_pb2.ContextKey.DESCRIPTOR).endswith(
        "The numbers are those of the fields of Context."
    )


def test_without_source_information_there_is_no_comment():
    assert Comments([]).of_message(run_pb2.RunFinished.DESCRIPTOR) == ""
    assert commented_files(None) == {}


def test_what_is_declared_inside_of_a_message_has_its_own_comments():
    file = descriptor_pb2.FileDescriptorProto(name="nested.proto", package="nested")
    for name in ("First", "Outer"):
        outer = file.message_type.add(name=name)
        for inner in ("A", "B"):
            kind = outer.nested_type.add(name=inner).enum_type.add(name="Kind")
            kind.value.add(name=f"{name.upper()}_{inner}_NONE", number=0)
        outer.enum_type.add(name="Level").value.add(name=f"{name.upper()}_LOW", number=0)
    for path, text in (([4, 1, 3, 1], "B of Outer."), ([4, 1, 3, 1, 4, 0], "Kind of B."), ([4, 1, 4, 0], "Level."),
                       ([4, 0], "First."), ([4, 1, 4, 0, 2, 0], "Low.")):  # fmt: skip
        file.source_code_info.location.add(path=path, leading_comments=text)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    outer = pool.FindMessageTypeByName("nested.Outer")
    inner = outer.nested_types_by_name["B"]
    comments = Comments([file])
    assert comments.of_message(inner) == "B of Outer."
    assert comments.of_enum(inner.enum_types_by_name["Kind"]) == "Kind of B."
    assert comments.of_enum(outer.enum_types_by_name["Level"]) == "Level."
    assert comments.of_value(outer.enum_types_by_name["Level"], 0) == "Low."
    assert comments.of_message(outer.nested_types_by_name["A"]) == ""
    assert comments.of_message(outer) == ""
