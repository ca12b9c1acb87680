import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.recordfile import SkipReason
from esper_telemetry.uplink.retry import MAX_GIVEN_UP, STRIKES, Action, Backoff, Doubts, ProtocolTimes, StreamEnd, judge
from esper_telemetry.v1 import collector_pb2

AWAY = StreamEnd("UNAVAILABLE")


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=100))
def test_pauses_are_random_from_nothing_up_to_a_bound_that_doubles(randoms):
    source = iter(randoms)
    backoff = Backoff(ProtocolTimes(), lambda: next(source))
    for failures, random in enumerate(randoms):
        assert backoff.pause(Action.BACK_OFF, AWAY) == random * min(10.0, 0.1 * 2.0 ** min(failures, 32))


def test_progress_starts_again_with_short_pauses():
    backoff = Backoff(ProtocolTimes(), lambda: 1.0)
    for _ in range(10):
        backoff.pause(Action.BACK_OFF, AWAY)
    backoff.succeeded()
    assert backoff.pause(Action.BACK_OFF, AWAY) == 0.1


def test_a_time_that_the_collector_gives_is_the_least():
    backoff = Backoff(ProtocolTimes(), lambda: 0.0)
    assert backoff.pause(Action.WAIT, StreamEnd("RESOURCE_EXHAUSTED", retry_after=7.0)) == 7.0


def test_a_token_that_is_refused_again_is_tried_once_a_minute():
    backoff = Backoff(ProtocolTimes(), lambda: 1.0)
    assert backoff.pause(Action.TOKEN, StreamEnd("UNAUTHENTICATED")) == 0.1
    assert backoff.pause(Action.TOKEN, StreamEnd("UNAUTHENTICATED")) == 60.0
    assert backoff.pause(Action.TOKEN, StreamEnd("UNAUTHENTICATED")) == 60.0
    assert backoff.pause(Action.BACK_OFF, AWAY) < 1.0


def test_with_many_frames_under_way_nobody_is_blamed_but_they_go_one_at_a_time_from_then_on():
    doubts = Doubts()
    assert doubts.refused("DATA_LOSS", [1, 11, 21], 30)
    assert doubts.given_up == {}
    assert doubts.careful(0)
    assert doubts.careful(29)
    assert not doubts.careful(30)


def test_a_frame_that_fails_alone_three_times_is_given_up():
    doubts = Doubts()
    for _ in range(STRIKES):
        assert 11 not in doubts.given_up
        assert doubts.refused("DATA_LOSS", [11], 30)
    assert doubts.given_up == {11: SkipReason.CORRUPT}


def test_a_frame_that_is_too_big_is_given_up_at_once():
    doubts = Doubts()
    assert doubts.refused("RESOURCE_EXHAUSTED", [11], 30)
    assert doubts.given_up == {11: SkipReason.TOO_BIG}


def test_a_refusal_with_no_frame_under_way_ends_it_after_three_times():
    doubts = Doubts()
    assert [doubts.refused("RESOURCE_EXHAUSTED", [], 0) for _ in range(3)] == [True, True, False]


def test_a_client_whose_every_frame_is_refused_stops():
    doubts = Doubts()
    answers = [doubts.refused("RESOURCE_EXHAUSTED", [first], 0) for first in range(1, MAX_GIVEN_UP + 1)]
    assert answers == [True] * (MAX_GIVEN_UP - 1) + [False]


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
    assert judge(StreamEnd(code)) is action


def test_an_exhausted_resource_with_a_time_to_wait_is_waited_for():
    assert judge(StreamEnd("RESOURCE_EXHAUSTED", retry_after=3.0)) is Action.WAIT


def test_a_fenced_stream_leaves_the_field_to_the_other():
    assert judge(StreamEnd("ABORTED", reason=collector_pb2.REFUSAL_REASON_FENCED)) is Action.STOP


def test_a_frame_that_the_collector_cannot_read_is_in_doubt_and_not_the_whole_stream():
    assert judge(StreamEnd("INVALID_ARGUMENT", reason=collector_pb2.REFUSAL_REASON_FRAME_INVALID)) is Action.DOUBT


def test_a_status_of_a_later_version_is_one_to_come_back_from():
    assert judge(StreamEnd("SOMETHING_NEW", reason=999)) is Action.BACK_OFF


def test_an_ending_is_one_clear_line():
    ending = StreamEnd("PERMISSION_DENIED", "token is for runs a-*", collector_pb2.REFUSAL_REASON_FORBIDDEN)
    assert str(ending) == "PERMISSION_DENIED (forbidden): token is for runs a-*"
    assert str(StreamEnd("UNAVAILABLE")) == "UNAVAILABLE"
