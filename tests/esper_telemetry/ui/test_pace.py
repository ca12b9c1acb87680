"""A replay gives every event once, in order, as fast as it is told, and can be paused, hurried and ended."""

from __future__ import annotations

import threading
import time

import pytest

from esper_telemetry.decode import read
from esper_telemetry.ui.origin import Phase
from esper_telemetry.ui.origin_files import FileOrigin
from esper_telemetry.ui.pace import Pace, PacedOrigin

SECOND = 1_000_000_000


@pytest.fixture
def hour(write_record, scalars):
    """A record of which the events are a minute apart."""
    events = [(message, {"time": (1_795_386_808 + 60 * at) * SECOND}) for at, (message, _) in enumerate(scalars(60))]
    return write_record(events)


class Playing:
    """A replay that a thread takes."""

    def __init__(self, path, pace: Pace) -> None:
        self.pace = pace
        self.origin = PacedOrigin(FileOrigin(path), pace)
        self.steps = []
        self.phases = []
        self._stop = False
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        for portion in self.origin.portions(lambda: self._stop):
            self.steps += [event.data["step"] for event in portion.events if event.type == "scalar.logged"]
            self.phases.append(portion.phase)

    def wait(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, (len(self.steps), self.phases[-2:])
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop = True
        self.origin.wake()
        self._thread.join(20)
        assert not self._thread.is_alive()


def playing(path, speed: float) -> Playing:
    pace = Pace()
    pace.set(speed=speed)
    return Playing(path, pace)


def test_a_fast_replay_gives_every_event_in_order_and_then_ends(hour):
    replay = playing(hour, 1e6)
    replay.wait(lambda: Phase.ENDED in replay.phases)
    assert replay.steps == [event.data["step"] for event in read(hour)]
    replay.stop()


def test_a_paused_replay_stands_still_and_goes_on(hour):
    replay = playing(hour, 600.0)  # ten events a second
    replay.wait(lambda: len(replay.steps) >= 2)
    replay.pace.set(paused=True)
    time.sleep(0.3)
    count = len(replay.steps)
    time.sleep(0.5)
    assert len(replay.steps) == count < 60
    replay.pace.set(paused=False, speed=1e6)
    replay.wait(lambda: Phase.ENDED in replay.phases)
    assert replay.steps == list(range(60))
    replay.stop()


def test_a_jump_gives_all_before_it_at_once(hour):
    replay = playing(hour, 0.001)
    replay.pace.set(until_ns=(1_795_386_808 + 60 * 30) * SECOND)
    replay.wait(lambda: len(replay.steps) >= 30)
    assert len(replay.steps) < 60
    replay.stop()


def test_what_was_quiet_for_long_is_not_waited_for_in_full(hour):
    replay = playing(hour, 0.001)  # a minute would take 16 hours
    replay.wait(lambda: len(replay.steps) >= 2)
    replay.stop()


def test_where_it_is_and_how_fast_can_be_asked(hour):
    replay = playing(hour, 1e6)
    replay.wait(lambda: Phase.ENDED in replay.phases)
    last = list(read(hour))[-1]
    assert replay.pace.state() == {"speed": 1e6, "paused": False, "at_ms": last.time_unix_nano / 1e6}
    replay.stop()


@pytest.mark.parametrize("speed", [0, -1, 1e9, float("nan")])
def test_a_speed_that_is_none_is_refused(speed):
    with pytest.raises(ValueError, match="cannot run at speed"):
        Pace().set(speed=speed)
