"""The buffer: numbers, frames and shedding."""

import itertools
import threading
from collections import Counter

from esper.v1 import trainer_pb2
from esper_telemetry import events, testing
from esper_telemetry.recorder.core import Core
from esper_telemetry.recorder.ledger import BUFFER_FULL, RECORD_REMOVED, WRITER_FAILED
from esper_telemetry.recorder.options import RecordOptions
from esper_telemetry.recorder.plans import NO_CONTEXT, NOWHERE, TypePlan, flat
from esper_telemetry.recordfile.frame_events import parse_events
from esper_telemetry.schema import MAX_BATCH_BYTES, event_type
from esper_telemetry.schema.row_shape import PAYLOAD

SCALAR = "esper_telemetry.v1.ScalarLogged"


def make(**options):
    core = Core(RecordOptions(**options), testing.FakeClock(), [], 5, strict=True)
    return core, core.buffer


def kind_of(core, cls):
    """What serialized events of a class have in common, without a context."""
    return TypePlan(core.known(cls), NO_CONTEXT).kind(PAYLOAD)


def append(buffer, kind, payload) -> bool:
    return buffer.append(kind, NOWHERE, payload, len(payload))


def woken(buffer) -> int:
    """Return 1 if the writer would wake now."""
    return buffer._wakeup._queue.qsize()


def taken(buffer):
    """Everything that waits, as a sink would get it."""
    batches = []
    while (batch := buffer.take()) is not None:
        batches.append(batch)
        buffer.written()
    return batches


def numbers(batches):
    return [event.seq for batch in batches for event in parse_events(batch.raw)]


def test_batches_cover_the_numbers_without_a_hole():
    core, buffer = make(frame_bytes=2000, buffer_bytes=6000, reserve_bytes=3000)
    scalar, level = kind_of(core, events.ScalarLogged), kind_of(core, events.LevelChanged)
    for number in range(300):
        append(buffer, level if number % 7 == 0 else scalar, b"\x0a\x50" + b"x" * 80)
        if number == 150:
            first = taken(buffer)
    batches = first + taken(buffer)
    assert len(batches) > 3
    assert batches[0].first_seq == 1
    assert batches[-1].last_seq == buffer.last_seq == 300
    for before, after in itertools.pairwise(batches):
        assert after.first_seq == before.last_seq + 1
    for batch in batches:
        seqs = [event.seq for event in parse_events(batch.raw)]
        assert seqs == sorted(seqs)
        assert batch.first_seq <= seqs[0]
        assert seqs[-1] <= batch.last_seq
    kept = sum(batch.records for batch in batches)
    assert kept + buffer.ledger.total == 300
    assert buffer.ledger.total > 0


def test_detail_is_shed_first_and_lifecycle_last():
    core, buffer = make(buffer_bytes=10_000, reserve_bytes=5_000)
    kinds = [kind_of(core, cls) for cls in (trainer_pb2.ActionTaken, events.ScalarLogged, events.LevelChanged)]
    kept = {kind.full_name: 0 for kind in kinds}
    for _ in range(200):
        for kind in kinds:
            kept[kind.full_name] += append(buffer, kind, b"y" * 100)
    assert kept["esper.v1.ActionTaken"] < kept[SCALAR] < kept["esper_telemetry.v1.LevelChanged"]
    assert buffer.ledger.total == 600 - sum(kept.values())


def test_an_event_over_the_limit_is_counted_as_too_large():
    run, sink = testing.memory_run()
    run.emit(events.ScalarLogged, name="x" * 600_000)
    run.close()
    assert run.stats().drops == {(SCALAR, "too_large"): 1}
    assert len(testing.recorded(sink)) == 3 - 1


def test_a_context_over_the_limit_is_too_large_as_well():
    run, sink = testing.memory_run()
    run.bind(device="x" * 1_000_000).emit(events.ScalarLogged, name="lost")
    run.emit(events.ScalarLogged, name="kept")
    assert run.flush(20)
    run.close()
    assert run.stats().drops == {(SCALAR, "too_large"): 1}
    assert [event.data["name"] for event in testing.recorded(sink) if event.name == "scalar.logged"] == ["kept"]


def test_no_batch_is_over_the_limit_of_a_frame():
    run, sink = testing.memory_run()
    for _ in range(8):
        run.emit(events.ScalarLogged, name="x" * 500_000)
    run.close()
    assert all(len(batch.raw) <= MAX_BATCH_BYTES for batch in sink.batches)
    assert len(testing.recorded(sink)) == 10


def test_numbers_stay_right_beyond_two_bytes_also_across_losses():
    core, buffer = make()
    kind = kind_of(core, events.ScalarLogged)
    expected = []
    for number in range(1, 50_001):
        if number % 16_384 == 0:
            buffer.lose("x", 3)
        else:
            append(buffer, kind, b"")
            expected.append(number)
    assert numbers(taken(buffer)) == expected


def test_a_type_is_declared_with_the_first_batch_that_holds_it():
    core, buffer = make()
    append(buffer, kind_of(core, events.ScalarLogged), b"")
    (first,) = taken(buffer)
    append(buffer, kind_of(core, trainer_pb2.ActionTaken), b"")
    (second,) = taken(buffer)
    assert first.new_types == [(next(iter(first.type_counts)), event_type(events.ScalarLogged))]
    assert second.new_types == [(next(iter(second.type_counts)), event_type(trainer_pb2.ActionTaken))]


def test_the_last_event_knows_everything_before_it_and_closes_the_buffer():
    core, buffer = make()
    kind = kind_of(core, events.ScalarLogged)
    append(buffer, kind, b"")
    buffer.lose("x", 3)
    seen = []
    buffer.end(kind.type_id, lambda offered, losses: seen.append((offered, losses.total())) or b"")
    assert not append(buffer, kind, b"")
    assert numbers(taken(buffer)) == [1, 3]
    assert seen == [(3, 1)]
    assert buffer.last_seq == 3
    assert buffer.late.losses == {(SCALAR, 9): 1}
    assert buffer.account().offered == 4


def test_threads_and_the_writer_meet_without_losing_or_doubling_an_event():
    core, buffer = make(frame_bytes=5_000)
    kind = kind_of(core, events.ScalarLogged)
    done = threading.Event()
    batches = []

    def write() -> None:
        while not done.is_set():
            batches.extend(taken(buffer))

    def emit() -> None:
        for _ in range(3_000):
            append(buffer, kind, b"\x0a\x01x")

    writer = threading.Thread(target=write)
    emitters = [threading.Thread(target=emit) for _ in range(3)]
    for thread in (writer, *emitters):
        thread.start()
    for thread in emitters:
        thread.join()
    done.set()
    writer.join()
    batches += taken(buffer)
    assert numbers(batches) == list(range(1, 9_001))
    assert buffer.account() == ({kind.type_id: 9_000}, {})


def test_what_was_written_leaves_room_for_as_much_again():
    core, buffer = make(buffer_bytes=10_000)
    kind = kind_of(core, events.ScalarLogged)
    rounds = []
    for _ in range(5):
        kept = 0
        while append(buffer, kind, b"\x0a\x40" + b"x" * 64):
            kept += 1
        rounds.append(kept)
        taken(buffer)
    assert len(set(rounds)) == 1
    assert rounds[0] > 40


def test_the_interpreter_is_offered_only_to_a_writer_that_is_behind(mocker):
    offered = mocker.patch("esper_telemetry.recorder.buffer._let_others_run")
    core, buffer = make(frame_bytes=1_000)
    kind = kind_of(core, events.ScalarLogged)
    for _ in range(200):
        append(buffer, kind, b"\x0a\x01x")
        taken(buffer)
    assert offered.call_count == 0
    for _ in range(200):
        append(buffer, kind, b"\x0a\x01x")
    frames = len(taken(buffer))
    assert 0 < offered.call_count < frames


def test_a_loss_is_counted_in_a_full_buffer_and_after_the_end_and_numbered_while_there_is_room():
    core, buffer = make(buffer_bytes=10_000)
    kind = kind_of(core, events.ScalarLogged)
    while append(buffer, kind, b"\x0a\x40" + b"x" * 64):
        pass
    for _ in range(1_000):
        buffer.lose("x", 3)
    assert buffer.account().losses["x", 3] == 1_000
    taken(buffer)
    numbered = buffer.last_seq
    buffer.lose("x", 3)
    append(buffer, kind, b"\x0a\x01x")
    assert numbers(taken(buffer)) == [numbered + 2]
    buffer.end(kind.type_id, lambda *_: b"")
    buffer.lose("x", 3)
    assert buffer.late.losses == {("x", 9): 1}


def test_emitters_may_store_events_themselves_until_the_buffer_is_full_and_again_when_it_was_written():
    core, buffer = make(buffer_bytes=10_000)
    kind = kind_of(core, events.ScalarLogged)
    for _ in range(3):
        assert buffer.bound > buffer.stored
        while append(buffer, kind, b"\x0a\x01x"):
            pass
        assert buffer.bound <= buffer.stored
        taken(buffer)
    buffer.end(kind.type_id, lambda *_: b"")
    assert buffer.bound < 0


def test_what_emitters_store_themselves_is_within_every_limit_and_ends_where_the_writer_is_woken():
    for options in ({"buffer_bytes": 10_000}, {"buffer_bytes": 1_000_000, "frame_bytes": 1_000}):
        core, buffer = make(**options)
        kind = kind_of(core, events.ScalarLogged)
        least = min(map(buffer.limit, (1, 2, 3)))
        assert buffer.limit(1) < buffer.limit(2) < buffer.limit(3)
        for _ in range(3):
            room = buffer.bound - buffer.stored
            assert 0 < room < min(least, 1_000_000 // 20)
            while woken(buffer) == 0:
                assert append(buffer, kind, b"\x0a\x01x")
            assert buffer.stored >= room, "not woken before"
            buffer._wakeup.wait(0)
            taken(buffer)
    buffer.end(kind.type_id, lambda *_: b"")
    taken(buffer)
    assert buffer.bound < 0


def test_a_context_takes_room_once_for_all_events_in_a_row_that_have_it():
    def kept(wheres) -> int:
        core, buffer = make(buffer_bytes=100_000)
        kind = kind_of(core, events.ScalarLogged)
        return sum(1 for where in itertools.takewhile(lambda at: buffer.append(kind, at, b"", 0), wheres))

    without = kept(itertools.repeat(NOWHERE))
    assert without - 20 <= kept(itertools.repeat(flat({}, 500))) < without
    assert 100 < kept(flat({}, 500) for _ in itertools.count()) < 200


def test_losses_take_room_until_the_buffer_is_full_and_are_counted_all_the_same():
    _, buffer = make(buffer_bytes=10_000)
    for _ in range(1_000):
        buffer.lose("x", 3)
    assert 5_000 < buffer.stored <= 10_000
    assert buffer.account() == ({}, {("x", 3): 1_000})
    assert taken(buffer) == []


def test_what_waits_is_in_the_account_before_it_was_taken():
    core, buffer = make()
    kind = kind_of(core, events.ScalarLogged)
    for _ in range(3):
        append(buffer, kind, b"\x0a\x01x")
    buffer.lose("x", 3)
    for _ in range(2):
        assert buffer.account() == ({kind.type_id: 3}, {("x", 3): 1})
        taken(buffer)


def test_the_most_that_ever_waited_is_known():
    core, buffer = make(frame_bytes=1_000, buffer_bytes=100_000)
    assert buffer.high_water == 0
    kind = kind_of(core, events.ScalarLogged)
    append(buffer, kind, b"\x0a\x01x")
    taken(buffer)
    alone = buffer.high_water
    assert 0 < alone < 1_000
    for count in (400, 3):
        while append(buffer, kind, b"\x0a\x01x") and (count := count - 1):
            pass
        most = buffer.high_water
        assert most > 200 * alone, "noted while it waits"
        taken(buffer)
        assert buffer.high_water == 401 * alone - alone >= most > 0


def test_an_event_that_is_refused_wakes_the_writer():
    core, buffer = make(buffer_bytes=10_000)
    kind = kind_of(core, events.ScalarLogged)
    while append(buffer, kind, b"\x0a\x01x"):
        pass
    buffer._wakeup.wait(0)
    assert not append(buffer, kind, b"\x0a\x01x")
    assert woken(buffer) == 1


def test_events_after_a_failed_writer_are_its_losses_and_not_late():
    core, buffer = make()
    kind = kind_of(core, events.ScalarLogged)
    buffer.stop(WRITER_FAILED)
    assert not append(buffer, kind, b"\x0a\x01x")
    buffer.lose(SCALAR, 3)
    assert buffer.account() == ({}, {(SCALAR, WRITER_FAILED): 2})
    assert not buffer.late.losses


def test_the_first_end_counts():
    core, buffer = make()
    kind = kind_of(core, events.ScalarLogged)
    ends = []
    for name in ("first", "second"):
        buffer.end(kind.type_id, lambda *_, name=name: ends.append(name) or b"")
    assert numbers(taken(buffer)) == [1]
    assert ends == ["first"]


def test_an_urgent_event_wakes_the_writer_and_others_do_not():
    core, buffer = make()
    woken = buffer._wakeup._queue
    append(buffer, kind_of(core, events.ScalarLogged), b"\x0a\x01x")
    assert (buffer.urgent, woken.qsize()) == (False, 0)
    for _ in range(3):
        append(buffer, kind_of(core, trainer_pb2.GovernorPanicked), b"")
    assert (buffer.urgent, woken.qsize()) == (True, 1)
    taken(buffer)
    assert not buffer.urgent


def test_what_waits_when_the_writer_stops_is_lost_for_that_cause():
    core, buffer = make()
    kind = kind_of(core, events.ScalarLogged)
    for _ in range(5):
        append(buffer, kind, b"\x0a\x01x")
    buffer.stop(BUFFER_FULL)
    assert buffer.account() == ({}, {(SCALAR, BUFFER_FULL): 5})


def test_room_is_free_when_the_sink_has_a_frame_and_for_that_frame_alone():
    core, buffer = make(frame_bytes=1_000, buffer_bytes=20_000)
    kind = kind_of(core, events.ScalarLogged)

    def fill() -> int:
        kept = 0
        while append(buffer, kind, b"\x0a\x40" + b"x" * 64):
            kept += 1
        return kept

    whole = fill()
    batch = buffer.take()
    assert fill() == 0
    buffer.written()
    assert buffer.taken_seq == batch.last_seq
    assert 0 < fill() < whole // 2


def test_losses_that_were_numbered_leave_their_room():
    core, buffer = make(buffer_bytes=10_000)
    for _ in range(1_000):
        buffer.lose("x", 3)
    assert taken(buffer) == []
    assert append(buffer, kind_of(core, events.ScalarLogged), b"\x0a\x01x")


def test_a_batch_that_no_sink_takes_is_lost_and_leaves_its_room():
    core, buffer = make(frame_bytes=1_000, buffer_bytes=20_000)
    kind = kind_of(core, events.ScalarLogged)
    while append(buffer, kind, b"\x0a\x40" + b"x" * 64):
        pass
    refused = buffer.account().losses[SCALAR, BUFFER_FULL]
    batch = buffer.take()
    buffer.drop(RECORD_REMOVED)
    assert append(buffer, kind, b"\x0a\x40" + b"x" * 64)
    assert buffer.account().losses == {(SCALAR, BUFFER_FULL): refused, (SCALAR, RECORD_REMOVED): batch.records}
    after = buffer.take()
    assert after.first_seq == batch.first_seq, "it covers what was lost before it"
    assert numbers([after])[0] == batch.last_seq + 1


def test_a_writer_that_gives_up_loses_what_waits_and_what_it_has_in_hand():
    core, buffer = make()
    kind = kind_of(core, events.ScalarLogged)
    for _ in range(5):
        append(buffer, kind, b"\x0a\x01x")
    taken(buffer)
    for _ in range(3):
        append(buffer, kind, b"\x0a\x01x")
    assert buffer.take() is not None
    append(buffer, kind, b"\x0a\x01x")
    buffer.drop_all(WRITER_FAILED)
    assert not append(buffer, kind, b"\x0a\x01x")
    assert buffer.account() == ({kind.type_id: 5}, {(SCALAR, WRITER_FAILED): 5})
    assert buffer.take() is None


def test_what_was_written_into_a_file_that_is_gone_is_lost_after_all():
    core, buffer = make()
    kind = kind_of(core, events.ScalarLogged)
    for _ in range(5):
        append(buffer, kind, b"\x0a\x01x")
    taken(buffer)
    buffer.take_back(Counter({kind.type_id: 2}), RECORD_REMOVED)
    assert buffer.account() == ({kind.type_id: 3}, {(SCALAR, RECORD_REMOVED): 2})


def test_losses_are_reported_once():
    core, buffer = make()
    append(buffer, kind_of(core, events.ScalarLogged), b"\x0a\x01x")
    for _ in range(2):
        buffer.lose("x", 3)
    taken(buffer)
    drops, total, offered = buffer.unreported_losses()
    assert ([(one.full_name, one.cause, one.count) for one in drops], total, offered) == ([("x", 3, 2)], 2, 3)
    assert buffer.unreported_losses() == ([], 2, 3)


def test_a_writer_that_keeps_up_is_not_woken():
    core, buffer = make(frame_bytes=1_000, buffer_bytes=100_000)
    kind = kind_of(core, events.ScalarLogged)
    for _ in range(300):
        for _ in range(3):
            append(buffer, kind, b"\x0a\x01x")
        taken(buffer)
        assert woken(buffer) == 0
