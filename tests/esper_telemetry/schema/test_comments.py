"""Comments of .proto files, found by descriptor."""

from __future__ import annotations

from pathlib import Path

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
