from pathlib import Path

import grpc
import pytest

from esper_telemetry.collector.refusal import STATUS, Refused
from esper_telemetry.v1 import collector_pb2

REASONS = [name.removeprefix("REFUSAL_REASON_") for name in collector_pb2.RefusalReason.DESCRIPTOR.values_by_name][1:]


def test_every_reason_of_the_protocol_has_a_status_and_no_other_has():
    assert set(STATUS) == set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_the_status_of_a_reason_is_the_one_that_the_schema_documents(reason):
    refused = Refused(reason, "a message", retry_after_ms=5, expected_seq=7)
    assert grpc.StatusCode[refused.status] is not grpc.StatusCode.OK
    number = collector_pb2.RefusalReason.Value(f"REFUSAL_REASON_{reason}")
    assert refused.to_proto() == collector_pb2.Refusal(reason=number, retry_after_ms=5, expected_seq=7)
    assert str(refused) == "a message"


def test_the_table_agrees_with_the_comments_of_the_schema():
    text = (Path(__file__).resolve().parents[3] / "proto/esper_telemetry/v1/collector.proto").read_text()
    for reason, status in STATUS.items():
        before, _, _ = text.partition(f"  REFUSAL_REASON_{reason} = ")
        comment = before[before.rindex(";\n") :]
        assert f"// {status}:" in comment, f"{reason}: the schema says {comment!r}, the table {status}"


def test_a_message_is_one_printable_line_of_bounded_length():
    refused = Refused("IDENTITY", "run_id is 'a\nCRITICAL forged\x1b[2J\u202e' " + "x" * 100_000)
    assert refused.message.isprintable()
    assert len(refused.message) < 1100
    assert "\\nCRITICAL" in refused.message
