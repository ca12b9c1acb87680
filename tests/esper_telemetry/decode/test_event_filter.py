"""Which events are wanted, told from the envelope."""

from __future__ import annotations

from collections import Counter

import pytest

from esper_telemetry.decode.event_filter import Filter
from esper_telemetry.decode.types import Origin
from esper_telemetry.recordfile import RecordReader


@pytest.fixture
def origin(write_record, scalars):
    with RecordReader(write_record(scalars(10))) as reader:
        return Origin(reader.segments[0], "x", Counter())


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        (None, True),
        (("scalar.logged",), True),
        (("scalar.*",), True),
        (("esper_telemetry.v1.ScalarLogged",), True),
        (("seed.*", "*.logged"), True),
        (("scalar",), False),
        ((), False),
    ],
)
def test_a_type_is_wanted_by_either_of_its_names(origin, types, wanted):
    assert Filter(types=types).wants(origin.kinds[2]) is wanted


def test_the_choice_of_frames_holds_the_ids_of_the_segment(origin):
    assert Filter(types=("scalar.*",)).selection(origin, expand=True).type_ids == {2}
    assert Filter(types=("nothing",)).selection(origin, expand=True).type_ids == frozenset()
    assert Filter().selection(origin, expand=True).type_ids is None


def test_an_undeclared_type_can_be_asked_for(origin):
    wanted = Filter(types=("type:77",))
    assert wanted.selection(origin, expand=True).type_ids is None
    assert wanted.wants(origin.kinds[77])


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({"first_seq": 4, "last_seq": 6}, [4, 5, 6]),
        ({"since_ns": 8_000_000}, [8, 9, 10]),
        ({"until_ns": 3_000_000}, [1, 2]),
    ],
)
def test_bounds_are_inclusive_but_for_the_latest_time(write_record, scalars, changes, numbers):
    with RecordReader(write_record(scalars(10))) as reader:
        events = list(reader.events())
    start = events[0].time_unix_nano - 1_000_000
    changes = {name: value + start if name.endswith("_ns") else value for name, value in changes.items()}
    assert [event.seq for event in events if Filter(**changes).covers(event)] == numbers
