import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.collector.limits import Limits
from esper_telemetry.collector.quotas import TokenBucket


def test_the_longest_frame_and_the_longest_schema_fit_into_a_message():
    limits = Limits()
    assert limits.message_bytes > max(limits.frame_bytes, limits.schema_bytes)
    said = limits.to_proto()
    assert (said.frame_bytes, said.window_frames) == (960 * 1024 + 64, 64)
    assert limits.dead_s == 30


def test_no_rate_means_no_waiting():
    bucket = TokenBucket(0)
    assert bucket.take(1e12, 0) == 0
    assert bucket.take(1e12, 0) == 0


def test_a_second_of_the_rate_is_free_and_more_has_to_wait():
    bucket = TokenBucket(100)
    assert bucket.take(100, now=5.0) == 0
    assert bucket.take(50, now=5.0) == pytest.approx(0.5)
    assert bucket.take(0, now=5.5) == pytest.approx(0)


@given(st.lists(st.floats(0, 1000), max_size=50), st.floats(1, 1000))
def test_whoever_waits_as_told_never_exceeds_rate_plus_one_second(amounts, rate):
    bucket, now = TokenBucket(rate), 0.0
    for amount in amounts:
        now += bucket.take(amount, now)
    assert sum(amounts) <= rate * (now + 1) * (1 + 1e-6) + 1e-6
