"""Cutting what waits into frames: numbers, sizes, and that a cut that was broken off is done again."""

import pytest

from esper_telemetry import events, testing
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.ledger import INVALID, SHUTDOWN, WRITER_FAILED
from esper_telemetry.recorder.options import RecordOptions
from esper_telemetry.recorder.plans import NO_CONTEXT, NOWHERE, TypePlan
from esper_telemetry.recordfile.frame_events import parse_events
from esper_telemetry.schema import MAX_BATCH_BYTES
from esper_telemetry.schema.row_shape import PAYLOAD

NAME = "esper_telemetry.v1.ScalarLogged"


def filled(payloads, **options):
    """A buffer that holds one event for each payload, and a loss for each None."""
    clock = testing.FakeClock()
    core = Core(RecordOptions(**options), clock, [], 5, strict=True)
    kind = TypePlan(core.known(events.ScalarLogged), NO_CONTEXT).kind(PAYLOAD)
    for payload in payloads:
        clock.monotonic += 1
        if payload is None:
            core.buffer.lose("x.Y", INVALID)
        else:
            assert core.buffer.append(kind, NOWHERE, payload, len(payload))
    return core.buffer


def taken(buffer):
    batches = []
    while (batch := buffer.take()) is not None:
        batches.append(batch)
        buffer.written()
    return batches


def found(batch):
    return parse_events(batch.raw)


def test_a_frame_ends_with_the_event_that_fills_it_whatever_the_sizes():
    sizes = [10, 3000, 5, 5, 900, 20_000, 1, 1, 1, 700] * 30
    batches = taken(filled([bytes(size) for size in sizes], frame_bytes=2000))
    assert [event.seq for batch in batches for event in found(batch)] == list(range(1, 301))
    for batch in batches[:-1]:
        assert len(batch.raw) >= 2000
        assert len(batch.raw) - found(batch)[-1].ByteSize() < 2000 + len("tag and length")


def test_no_frame_is_over_the_limit_of_the_format_when_events_are_large():
    batches = taken(filled([bytes(500_000)] * 8, frame_bytes=10 * MAX_BATCH_BYTES))
    assert [batch.records for batch in batches] == [1] * 8


def test_losses_take_numbers_where_they_happened_and_are_counted_when_they_are_taken():
    buffer = filled([None, b"a", None, None, b"b", None])
    assert buffer.ledger.total == 0
    assert buffer.account().losses == {("x.Y", INVALID): 4}
    (batch,) = taken(buffer)
    assert [event.seq for event in found(batch)] == [2, 5]
    assert (batch.first_seq, batch.last_seq) == (1, 6)
    assert [event.time_unix_nano for event in found(batch)] == [batch.min_time, batch.max_time]
    assert buffer.ledger.losses == {("x.Y", INVALID): 4}
    assert buffer.last_seq == buffer.account().offered == 6


def test_losses_alone_make_no_frame_and_their_numbers_belong_to_the_next():
    buffer = filled([None, None])
    assert taken(buffer) == []
    assert buffer.ledger.total == 2
    plan_buffer = filled([None, b"a"])
    (batch,) = taken(plan_buffer)
    assert (batch.first_seq, batch.last_seq) == (1, 2)


def test_a_batch_is_the_same_until_it_was_written_or_dropped():
    buffer = filled([b"a"] * 3)
    batch = buffer.take()
    assert buffer.take() is batch
    buffer.drop(WRITER_FAILED)
    assert buffer.take() is None
    assert buffer.account() == ({}, {(NAME, WRITER_FAILED): 3})
    assert buffer.last_seq == 3


def test_the_numbers_of_a_dropped_batch_are_covered_by_the_next():
    buffer = filled([b"a"] * 40, frame_bytes=200)
    first = buffer.take()
    buffer.drop(WRITER_FAILED)
    second = buffer.take()
    assert second.first_seq == 1
    assert found(second)[0].seq == first.last_seq + 1


def test_a_type_of_a_dropped_batch_is_declared_by_the_next():
    buffer = filled([b"a"] * 400, frame_bytes=200)
    dropped = buffer.take()
    buffer.drop(WRITER_FAILED)
    assert buffer.take().new_types == dropped.new_types != []
    buffer.written()
    assert buffer.take().new_types == []


def test_everything_that_was_not_written_is_counted_each_under_its_own_cause():
    buffer = filled([b"a", None, b"b"])
    buffer.drop_all(SHUTDOWN)
    assert buffer.account() == ({}, {(NAME, SHUTDOWN): 2, ("x.Y", INVALID): 1})
    assert buffer.take() is None
    assert buffer.last_seq == 3


def test_a_cut_that_an_exception_breaks_off_is_done_again_from_the_same_events(mocker):
    buffer = filled([b"a", None, b"b", b"c"])
    mocker.patch("esper_telemetry.recorder.cutter.build_frame", side_effect=MemoryError)
    with pytest.raises(MemoryError):
        buffer.take()
    assert buffer.account().offered == 4
    mocker.stopall()
    (batch,) = taken(buffer)
    assert [event.seq for event in found(batch)] == [1, 3, 4]
    assert buffer.account().offered == 4


def test_times_of_threads_that_overtook_each_other_do_not_step_back():
    clock = testing.FakeClock()
    core = Core(RecordOptions(), clock, [], 5, strict=True)
    kind = TypePlan(core.known(events.ScalarLogged), NO_CONTEXT).kind(PAYLOAD)
    start = clock.monotonic
    for time in (5, 3, 9, 8, 1):
        clock.monotonic = start + time
        core.buffer.append(kind, NOWHERE, b"", 0)
        if time == 9:
            (first,) = taken(core.buffer)
    (second,) = taken(core.buffer)
    times = [event.time_unix_nano - clock.wall for batch in (first, second) for event in found(batch)]
    assert times == [5, 5, 9, 9, 9]
    assert (first.min_time, first.max_time) == (clock.wall + 5, clock.wall + 9)
    assert (second.min_time, second.max_time) == (clock.wall + 9, clock.wall + 9)
