"""The client's session, one thing at a time; test_wire.py lets everything happen at once."""

from __future__ import annotations

import re

import pytest

from esper_telemetry.recordfile import SkipReason
from esper_telemetry.uplink.backlog_rate import BacklogRate
from esper_telemetry.uplink.retry import StreamEnd
from esper_telemetry.uplink.session import Session
from esper_telemetry.uplink.terms import wire_bytes
from esper_telemetry.v1 import collector_pb2, record_pb2
from tests.esper_telemetry.uplink.listsource import ListSource, schema


@pytest.fixture
def source():
    source = ListSource()
    for _ in range(10):
        source.write(10)
    return source


def welcome(**fields) -> collector_pb2.ServerMessage:
    return collector_pb2.ServerMessage(
        welcome=collector_pb2.Welcome(protocol=1, durability=collector_pb2.DURABILITY_FILE, **fields)
    )


def ack(**fields) -> collector_pb2.ServerMessage:
    return collector_pb2.ServerMessage(ack=collector_pb2.Ack(**fields))


def connected(source, now=0.0, session=None, **fields) -> Session:
    session = session or Session(source, rng=lambda: 0.5)
    session.connect(now)
    assert session.send(now).WhichOneof("message") == "hello"
    session.receive(now, welcome(**fields))
    return session


def say_all(session, now=0.0) -> list[collector_pb2.ClientMessage]:
    said = []
    while (message := session.send(now)) is not None:
        said.append(as_sent(message))
    return said


def as_sent(message) -> collector_pb2.ClientMessage:
    """Return a message as the collector gets it."""
    return collector_pb2.ClientMessage.FromString(wire_bytes(message))


def ranges(said):
    return [(m.batch.first_seq, m.batch.last_seq) for m in said if m.WhichOneof("message") == "batch"]


def test_the_hello_says_who_sends_and_from_where(source):
    session = Session(source, rng=lambda: 0.5, client="client/1")
    session.connect(0.0)
    session.learn_epoch(7)
    hello = session.send(0.0).hello
    assert (hello.run_id, hello.producer_id, hello.rank, hello.writer) == ("run", b"p" * 16, 3, "test")
    assert (hello.session_epoch, hello.client, hello.first_available_seq) == (8, "client/1", 1)
    assert hello.schema_fingerprint == schema(1).fingerprint
    assert session.send(0.0) is None, "nothing is said before the Welcome"


def test_a_session_that_was_never_connected_says_nothing_and_is_not_dead(source):
    session = Session(source, rng=lambda: 0.5)
    assert session.producer == ("run", b"p" * 16)
    assert not session.connected
    assert not session.settled
    assert not session.epoch_known
    assert session.send(100.0) is None
    assert not session.dead(100.0)


def test_each_stream_has_an_epoch_of_its_own_and_those_of_a_sender_before_are_left_out(source):
    session = Session(source, rng=lambda: 0.5)
    for epoch in (1, 2):
        session.connect(0.0)
        assert session.send(0.0).hello.session_epoch == epoch
        session.end(0.0, StreamEnd("UNAVAILABLE"))
    session.learn_epoch(9)
    assert session.epoch_known
    session.connect(0.0)
    assert session.send(0.0).hello.session_epoch == 11
    assert session.tally.connects == 3


def test_the_hello_names_the_schema_of_the_frame_to_come():
    source = ListSource()
    for number in (1, 2, 3):
        source.write(1, number=number)
    session = connected(source)
    say_all(session)
    session.receive(0.0, ack(durable_seq=1, accepted_seq=3))
    session.end(0.0, StreamEnd("UNAVAILABLE"))
    session.connect(0.0)
    assert session.send(0.0).hello.schema_fingerprint == schema(2).fingerprint


def test_a_frame_counts_as_repeated_when_it_was_sent_before():
    source = ListSource()
    source.write(1)
    session = connected(source)
    say_all(session)
    assert session.tally.repeated == 0
    session.end(0.0, StreamEnd("UNAVAILABLE"))
    say_all(connected(source, session=session))
    assert (session.tally.frames, session.tally.repeated, session.tally.bytes) == (2, 1, 200)


def test_labels_are_in_the_hello():
    source = ListSource()
    source.header = record_pb2.Header(run_id="run", producer_id=b"p" * 16, attributes={"note": "short"})
    session = Session(source, rng=lambda: 0.5)
    session.connect(0.0)
    assert dict(session.send(0.0).hello.labels) == {"note": "short"}


def test_labels_that_are_too_long_for_a_hello_are_left_out():
    def hello(size):
        source = ListSource()
        source.header = record_pb2.Header(run_id="run", producer_id=b"p" * 16, attributes={"note": "x" * size})
        session = Session(source, rng=lambda: 0.5)
        session.connect(0.0)
        return session.send(0.0).hello

    fits = 65_000 + 64 * 1024 - hello(65_000).ByteSize()
    assert hello(fits).ByteSize() == 64 * 1024
    assert (hello(fits + 1).run_id, dict(hello(fits + 1).labels)) == ("run", {})


def test_sending_starts_after_what_is_durable(source):
    assert ranges(say_all(connected(source, durable_seq=70))) == [(71, 80), (81, 90), (91, 100)]


def test_a_schema_is_sent_when_the_collector_needs_it_and_when_it_changes(source):
    source.write(10, number=2)
    source.write(10, number=2)
    said = say_all(connected(source, durable_seq=90))
    assert [m.WhichOneof("message") for m in said] == ["batch", "schema", "batch", "batch"]
    said = say_all(connected(source, durable_seq=110, need_schema=True))
    assert [m.WhichOneof("message") for m in said] == ["schema", "batch"]
    assert said[0].schema.fingerprint == schema(2).fingerprint


def test_a_skip_that_comes_first_is_preceded_by_a_schema_if_that_is_needed():
    source = ListSource()
    source.lose(5)
    source.write(5)
    said = say_all(connected(source, need_schema=True))
    assert [m.WhichOneof("message") for m in said] == ["schema", "skip", "batch"]
    assert said[1].skip.reason == collector_pb2.SKIP_REASON_CORRUPT


@pytest.mark.parametrize(
    ("limits", "frames"), [({"window_frames": 3}, 3), ({"window_bytes": 250}, 2), ({"window_bytes": 200}, 2)]
)
def test_the_window_holds_until_something_is_accepted(source, limits, frames):
    session = connected(source, limits=collector_pb2.StreamLimits(**limits))
    assert len(ranges(say_all(session))) == frames
    session.receive(0.0, ack(accepted_seq=20))
    assert ranges(say_all(session)) == [(n * 10 + 1, n * 10 + 10) for n in range(frames, frames + 2)]
    session.receive(0.0, ack(accepted_seq=20 + frames * 10))
    assert len(ranges(say_all(session))) == frames
    assert session.durable_seq == 0


def test_a_skip_takes_no_place_among_the_bytes_of_a_window():
    source = ListSource()
    source.write(10)
    source.write(10)
    source.lose(10)
    session = connected(source, limits=collector_pb2.StreamLimits(window_bytes=200))
    assert [m.WhichOneof("message") for m in say_all(session)] == ["batch", "batch", "skip"]


def test_a_frame_larger_than_the_window_goes_alone(source):
    session = connected(source, limits=collector_pb2.StreamLimits(window_bytes=10))
    assert ranges(say_all(session)) == [(1, 10)]


@pytest.mark.parametrize(("limits", "frames"), [
    ({"frame_bytes": 100, "raw_bytes": 300}, 1), ({"frame_bytes": 99}, 0), ({"raw_bytes": 299}, 0),
])  # fmt: skip
def test_a_frame_may_be_as_large_as_the_limits_of_the_welcome(limits, frames):
    source = ListSource()
    source.write(10, size=100)
    session = connected(source, limits=collector_pb2.StreamLimits(**limits))
    assert len(ranges(say_all(session))) == frames
    assert len(session.tally.skipped) == 1 - frames


def test_a_schema_over_the_limit_of_the_welcome_stops_the_session_and_says_so(source):
    session = connected(source, need_schema=True, limits=collector_pb2.StreamLimits(schema_bytes=20))
    assert say_all(session) == []
    assert re.fullmatch(r"the schema takes \d\d bytes; the collector takes 20", session.stopped)


def test_a_backlog_goes_at_its_pace_and_what_is_lost_meanwhile_at_once():
    source = ListSource()
    for _ in range(3):
        source.write(10, size=1000)
    source.lose(5)
    session = connected(source, now=50.0, session=Session(source, rng=lambda: 0.5, pace=BacklogRate(0.0, 100.0)))
    sent = [(50.0, *one) for one in ranges(say_all(session, 50.0))]
    assert session.wake_at(50.0) == pytest.approx(59.0), "a burst of a second is free"
    now = 51.0
    while len(sent) < 3:
        said = say_all(session, now)
        sent += [(now, *one) for one in ranges(said)]
        assert session.wake_at(now) > now
        now += 1.0
    assert [first for _, first, _ in sent] == [1, 11, 21]
    assert sent[1][0] - sent[0][0] >= 8
    assert sent[2][0] - sent[1][0] >= 8
    assert session.tally.skipped == {(31, 35): SkipReason.CORRUPT}, "sent with the frame before"


def test_a_frame_over_a_limit_of_the_welcome_is_never_sent():
    source = ListSource()
    source.write(5, size=400)
    source.write(5, size=100)
    session = connected(source, limits=collector_pb2.StreamLimits(frame_bytes=200))
    said = say_all(session)
    assert [m.WhichOneof("message") for m in said] == ["skip", "batch"]
    assert said[0].skip.reason == collector_pb2.SKIP_REASON_TOO_BIG
    assert session.tally.skipped == {(1, 5): SkipReason.TOO_BIG}


def test_a_throttled_client_waits(source):
    session = connected(source, limits=collector_pb2.StreamLimits(window_frames=1))
    say_all(session)
    session.receive(1.0, ack(accepted_seq=10, throttle_ms=500))
    session.receive(1.2, ack(accepted_seq=10))
    assert say_all(session, 1.4) == [], "an ack without a pause does not take back the one before"
    assert session.wake_at(1.4) == 1.5
    assert ranges(say_all(session, 1.5)) == [(11, 20)]


def test_an_idle_stream_beats_and_a_silent_collector_is_dead():
    session = connected(ListSource(), heartbeat_ms=2000)
    assert session.send(1.9) is None
    assert session.wake_at(1.9) == 2.0
    assert session.send(2.0, wall_ns=42).heartbeat.sent_unix_nano == 42
    assert not session.dead(5.9)
    assert session.dead(6.0)
    session.receive(6.0, collector_pb2.ServerMessage(heartbeat=collector_pb2.Heartbeat()))
    assert not session.dead(6.1)


def test_a_stream_that_began_late_beats_when_it_was_idle_and_not_before():
    session = connected(ListSource(), now=100.0)
    assert not session.dead(100.0)
    assert session.send(109.9) is None
    assert session.send(110.0).WhichOneof("message") == "heartbeat"


def test_a_heartbeat_of_the_collector_stops_nothing(source):
    session = connected(source)
    session.receive(0.0, collector_pb2.ServerMessage(heartbeat=collector_pb2.Heartbeat()))
    assert len(ranges(say_all(session))) == 10


def test_what_has_nothing_more_to_say_wakes_only_to_find_the_collector_silent(source):
    session = Session(source, rng=lambda: 0.5)
    session.connect(5.0)
    session.send(5.0)
    assert session.wake_at(5.0) == 35.0, "no Welcome yet: nothing to beat for"
    source.over = True
    session = connected(source, now=5.0)
    assert session.wake_at(5.0) == 15.0
    assert say_all(session, 5.0)[-1].WhichOneof("message") == "close"
    assert session.wake_at(5.0) == 35.0


def test_after_close_nothing_is_said_and_ok_ends_it(source):
    source.over = True
    session = connected(source, durable_seq=90)
    assert [m.WhichOneof("message") for m in say_all(session)] == ["batch", "close"]
    assert say_all(session, 100.0) == []
    session.end(100.0, StreamEnd("OK"))
    assert not session.finished, "the last frame is not durable yet"
    session = connected(source, durable_seq=90)
    say_all(session)
    session.receive(0.0, ack(durable_seq=100, accepted_seq=100))
    session.end(0.0, StreamEnd("OK"))
    assert session.finished


def test_a_frame_that_rots_is_found_among_many_and_given_up_alone(source):
    session = Session(source, rng=lambda: 0.0)
    delivered, durable = [], 0
    for _ in range(40):
        connected(source, session=session, durable_seq=durable)
        while not session.complete:
            said = say_all(session)
            for message in said:
                kind = message.WhichOneof("message")
                if kind == "batch" and message.batch.first_seq == 41:
                    break
                if kind in ("batch", "skip"):
                    delivered.append(message)
                    durable = message.batch.last_seq or message.skip.last_seq
                    session.receive(0.0, ack(durable_seq=durable, accepted_seq=durable))
            else:
                if durable == 100:
                    break
                continue
            session.end(0.0, StreamEnd("DATA_LOSS"))
            break
        if durable == 100:
            break
    assert session.tally.skipped == {(41, 50): SkipReason.CORRUPT}
    assert not session.stopped
    assert [m.batch.first_seq or m.skip.first_seq for m in delivered] == list(range(1, 100, 10))


def test_a_permanent_refusal_stops_the_session_and_says_why(source):
    session = connected(source)
    session.end(0.0, StreamEnd("PERMISSION_DENIED", "not yours"))
    assert session.stopped == "PERMISSION_DENIED: not yours"
    assert not session.finished


def test_a_stream_ends_once_and_is_over_then(source):
    session = connected(source)
    session.end(0.0, StreamEnd("UNAVAILABLE"))
    assert not session.connected
    assert session.send(100.0) is None
    session.end(0.0, StreamEnd("PERMISSION_DENIED", "too late"))
    assert (session.stopped, str(session.ending)) == ("", "UNAVAILABLE")


@pytest.mark.parametrize(("seconds", "pause"), [(9.0, 1.6), (10.0, 1.6), (11.0, 0.05)])
def test_pauses_grow_until_a_stream_has_lasted(source, seconds, pause):
    session, now = Session(source, rng=lambda: 0.5), 1000.0
    for failures in range(5):
        session.connect(now)
        session.end(now, StreamEnd("UNAVAILABLE"))
        assert session.retry_at == pytest.approx(now + 0.05 * 2**failures)
    session.connect(now)
    session.end(now + seconds, StreamEnd("UNAVAILABLE"))
    assert session.retry_at == pytest.approx(now + seconds + pause)


@pytest.mark.parametrize(("progress", "pause"), [
    ({"accepted_seq": 20}, 0.05), ({"durable_seq": 20, "accepted_seq": 20}, 0.05),
    ({"accepted_seq": 10}, 0.4), ({}, 0.4),
])  # fmt: skip
def test_pauses_are_short_again_after_progress(source, progress, pause):
    session = Session(source, rng=lambda: 0.5)
    for _ in range(3):
        connected(source, session=session, durable_seq=10)
        session.end(0.0, StreamEnd("UNAVAILABLE"))
    connected(source, session=session, durable_seq=10)
    session.receive(0.0, ack(**progress))
    session.end(0.0, StreamEnd("UNAVAILABLE"))
    assert session.retry_at == pytest.approx(pause)


def test_duplicates_of_all_streams_are_added(source):
    session = Session(source, rng=lambda: 0.5)
    for told in (2, 3):
        connected(source, session=session)
        session.receive(0.0, ack(duplicates=1))
        session.receive(0.0, ack(duplicates=told))
        session.end(0.0, StreamEnd("UNAVAILABLE"))
    assert session.tally.duplicates == 5


def test_a_client_that_goes_back_has_its_whole_window_again(source):
    session = connected(source, limits=collector_pb2.StreamLimits(window_frames=3))
    say_all(session)
    session.receive(0.0, ack(accepted_seq=10, resend_from=11))
    assert session.accepted_seq == 10
    assert ranges(say_all(session)) == [(11, 20), (21, 30), (31, 40)]
    session.receive(0.0, ack(durable_seq=20, accepted_seq=40))
    session.receive(0.0, ack(durable_seq=20, accepted_seq=40, resend_from=31))
    assert session.accepted_seq == 30


def test_the_very_last_number_is_sent_again_when_it_is_missing():
    source = ListSource()
    source.write(1)
    session = connected(source)
    assert ranges(say_all(session)) == [(1, 1)]
    session.receive(0.0, ack(resend_from=1))
    assert ranges(say_all(session)) == [(1, 1)]
    session.receive(0.0, ack(resend_from=2))
    assert say_all(session) == [], "what does not exist yet"


def test_a_drain_does_not_shorten_the_pause_of_a_token_that_was_refused_twice(source):
    session = Session(source, rng=lambda: 0.5)
    for _ in range(2):
        connected(source, session=session)
        session.receive(0.0, collector_pb2.ServerMessage(drain=collector_pb2.Drain(reconnect_after_ms=2000)))
        session.end(0.0, StreamEnd("UNAUTHENTICATED"))
    assert session.retry_at == 60.0


def test_a_drained_client_comes_back_when_it_was_told_to(source):
    session = connected(source)
    drain = collector_pb2.Drain(reconnect_after_ms=2000, jitter_ms=1000)
    session.receive(5.0, collector_pb2.ServerMessage(drain=drain))
    assert say_all(session, 5.0) == []
    session.end(6.0, StreamEnd("OK"))
    assert session.retry_at == 6.0 + 2.0 + 0.5


def test_what_is_only_written_there_is_no_promise(source):
    session = Session(source, rng=lambda: 0.5)
    session.connect(0.0)
    session.send(0.0)
    message = collector_pb2.Welcome(durable_seq=100, durability=collector_pb2.DURABILITY_NONE)
    session.receive(0.0, collector_pb2.ServerMessage(welcome=message))
    assert not session.promised


def test_a_collector_that_lost_what_it_had_is_sent_it_again(source):
    session = connected(source, durable_seq=100)
    session.end(0.0, StreamEnd("UNAVAILABLE"))
    connected(source, session=session, durable_seq=30)
    assert ranges(say_all(session))[0] == (31, 40)


def test_a_client_goes_back_to_where_numbers_are_missing(source):
    source.over = True
    session = connected(source)
    assert [m.WhichOneof("message") for m in say_all(session)][-1] == "close"
    session.receive(0.0, ack(durable_seq=20, accepted_seq=40, resend_from=41))
    said = say_all(session)
    assert ranges(said)[0] == (41, 50)
    assert said[-1].close.final_seq == 100
    assert session.tally.repeated == 6
    assert session.durable_seq == 20
