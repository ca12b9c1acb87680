from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.uplink.backlog_rate import BacklogRate

SECOND = 1_000_000_000


def frame(number: int, seconds: float) -> Descriptor:
    start = 1_760_000_000 * SECOND + int(number * seconds * SECOND)
    return Descriptor(100, 1000, 10, 1, number * 10 + 1, number * 10 + 10, start, start + int(seconds * SECOND))


def send_for(pace: BacklogRate, size: int, seconds_each: float, duration: float) -> int:
    """Send frames as fast as the pace allows, in simulated time; return the bytes."""
    now, sent, number = 0.0, 0, 0
    while True:
        now += pace.pause(now)
        if now >= duration:
            return sent
        pace.sent(now, frame(number, seconds_each), size)
        sent += size
        number += 1


def test_a_backlog_goes_at_four_times_the_rate_at_which_it_was_written():
    pace = BacklogRate(floor=1.0)
    sent = send_for(pace, size=1000, seconds_each=1.0, duration=1000.0)
    assert 4000 * 1000 <= sent <= 4000 * 1010


def test_a_slow_writer_catches_up_at_the_floor():
    sent = send_for(BacklogRate(floor=50_000.0), size=1000, seconds_each=1.0, duration=100.0)
    assert 50_000 * 100 <= sent <= 50_000 * 105


def test_a_live_writer_is_never_slowed():
    pace = BacklogRate(floor=1.0)
    for number in range(1000):
        assert pace.pause(float(number)) == 0.0
        pace.sent(float(number), frame(number, 1.0), 100_000)
