"""Comments of .proto files, found by descriptor."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from esper_telemetry.schema import file_closure
from esper_telemetry.schema.comments import Comments, put_back, taken_out
from esper_telemetry.schema.definitions import commented_files
from esper_telemetry.v1 import options_pb2, run_pb2, training_pb2

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


def test_comments_that_are_taken_out_are_put_back_as_they_were():
    descriptors = file_closure([training_pb2.PpoUpdateCompleted, run_pb2.RunFinished]).SerializeToString(
        deterministic=True
    )
    bare, text = taken_out(descriptors)
    assert len(bare) + len(text) < len(descriptors)
    assert "Last event of a run." in text.split("\n")
    assert not any(file.source_code_info.location for file in FileDescriptorSet.FromString(bare).file)
    assert put_back(bare, text) == descriptors


def test_descriptors_that_are_made_in_another_way_keep_their_comments():
    file = FileDescriptorProto(name="a.proto", message_type=[{"name": "A"}])
    file.source_code_info.location.add(path=[4, 0], span=[1, 2, 3], leading_comments=" Two\n lines.\n")
    foreign = FileDescriptorSet(file=[file]).SerializeToString()
    assert taken_out(foreign) == (foreign, "")
    assert taken_out(b"\xff") == (b"\xff", "")


def test_lines_without_a_place_and_places_without_a_line_are_nothing():
    bare = FileDescriptorSet(file=[{"name": "a.proto", "message_type": [{"name": "A"}]}]).SerializeToString()
    assert put_back(bare, "") == bare
    (file,) = FileDescriptorSet.FromString(put_back(bare, "Of A.\nOf nothing.\n\n")).file
    assert [(list(one.path), one.leading_comments) for one in file.source_code_info.location] == [([4, 0], "Of A.")]
