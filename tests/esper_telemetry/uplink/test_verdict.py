import pytest

from esper_telemetry.uplink.verdict import Action, Ending, judge
from esper_telemetry.v1 import collector_pb2

# The table of the protocol.
TABLE = {
    "UNAVAILABLE": Action.BACK_OFF,
    "ABORTED": Action.BACK_OFF,
    "CANCELLED": Action.BACK_OFF,
    "DEADLINE_EXCEEDED": Action.BACK_OFF,
    "UNKNOWN": Action.BACK_OFF,
    "OUT_OF_RANGE": Action.BACK_OFF,
    "RESOURCE_EXHAUSTED": Action.DOUBT,
    "DATA_LOSS": Action.DOUBT,
    "FAILED_PRECONDITION": Action.STOP,
    "PERMISSION_DENIED": Action.STOP,
    "INVALID_ARGUMENT": Action.STOP,
    "ALREADY_EXISTS": Action.STOP,
    "UNAUTHENTICATED": Action.TOKEN,
}


@pytest.mark.parametrize(("code", "action"), TABLE.items())
def test_a_status_means_what_the_protocol_says(code, action):
    assert judge(Ending(code)) is action


def test_an_exhausted_resource_with_a_time_to_wait_is_waited_for():
    assert judge(Ending("RESOURCE_EXHAUSTED", retry_after=3.0)) is Action.WAIT


def test_a_fenced_stream_leaves_the_field_to_the_other():
    assert judge(Ending("ABORTED", reason=collector_pb2.REFUSAL_REASON_FENCED)) is Action.STOP


def test_a_frame_that_the_collector_cannot_read_is_in_doubt_and_not_the_whole_stream():
    assert judge(Ending("INVALID_ARGUMENT", reason=collector_pb2.REFUSAL_REASON_FRAME_INVALID)) is Action.DOUBT


def test_a_status_of_a_later_version_is_one_to_come_back_from():
    assert judge(Ending("SOMETHING_NEW", reason=999)) is Action.BACK_OFF


def test_an_ending_is_one_clear_line():
    ending = Ending("PERMISSION_DENIED", "token is for runs a-*", collector_pb2.REFUSAL_REASON_FORBIDDEN)
    assert str(ending) == "PERMISSION_DENIED (forbidden): token is for runs a-*"
    assert str(Ending("UNAVAILABLE")) == "UNAVAILABLE"
