"""Counting by envelopes gives what counting events gives, whatever a record is made of."""

from __future__ import annotations

import pytest

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.decode import count_envelopes, count_events
from esper_telemetry.decode.tallies import Tallies
from esper_telemetry.recordfile import RecordReader


@pytest.fixture
def ranks(tmp_path):
    """The folder of a run of two ranks with several frames each."""
    for rank in (0, 1):
        with et.start_run(tmp_path, name="r", run_id="r", rank=rank) as run:
            for number in range(300):
                at = run.bind(env_id=number % 3) if number % 2 else run
                at.emit(events.ScalarLogged, name="n" * (number % 200), value=float(number))
                if number % 100 == 0:
                    run.flush()
    return tmp_path / "r"


def without_fields(found):
    for statistics in found.values():
        statistics.fields = {}
    return found


@pytest.mark.parametrize("apart", [{}, {"by_rank": True}, {"by_run": True}], ids=["together", "ranks", "runs"])
@pytest.mark.parametrize(
    "chosen",
    [{}, {"first_seq": 50, "last_seq": 250}, {"types": "scalar.*"}, {"envs": [1]}, {"ranks": [1]}, {"latest": True}],
    ids=["all", "numbers", "types", "environments", "rank", "latest"],
)
def test_the_counts_are_those_of_the_events(ranks, chosen, apart):
    by_envelope = count_envelopes(et.read(ranks, **chosen), **apart)
    assert by_envelope
    assert by_envelope == without_fields(count_events(et.read(ranks, **chosen), **apart))


def test_events_of_a_copy_are_counted_once(ranks):
    (first, *_) = sorted(ranks.iterdir())
    copy = first.with_name(first.name.replace("000001", "000009"))
    copy.write_bytes(first.read_bytes())
    found = count_envelopes(et.read(ranks, strict=False))
    assert sum(one.events for one in found.values()) == 2 * 302


def test_whole_frames_make_no_event(ranks):
    records = et.read(ranks)
    tallies = Tallies()
    assert list(records.beside(tallies)) == []
    assert sum(tally.events for tally in tallies.found.values()) == 2 * 302
    assert not records.warnings


def test_a_damaged_frame_is_told_and_the_others_are_counted(write_record, scalars):
    path = write_record(scalars(5), scalars(5), scalars(5))
    with RecordReader(path) as reader:
        damaged = list(reader.frames())[1]
    data = bytearray(path.read_bytes())
    data[damaged.offset + 20] ^= 0xFF
    path.write_bytes(data)
    records = et.read(path, strict=False)
    assert sum(one.events for one in count_envelopes(records).values()) == 10
    assert "numbers 6 to 10" in records.warnings[0]
