"""The client's session, one thing at a time; test_wire.py lets everything happen at once."""

from __future__ import annotations

import pytest

from esper_telemetry.recordfile import SkipReason
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


def test_labels_that_are_too_long_for_a_hello_are_left_out(source):
    source.header = record_pb2.Header(run_id="run", producer_id=b"p" * 16, attributes={"note": "x" * 70_000})
    session = Session(source, rng=lambda: 0.5)
    session.connect(0.0)
    hello = session.send(0.0).hello
    assert hello.run_id == "run"
    assert not hello.labels


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


@pytest.mark.parametrize(("limits", "frames"), [({"window_frames": 3}, 3), ({"window_bytes": 250}, 2)])
def test_the_window_holds_until_something_is_accepted(source, limits, frames):
    session = connected(source, limits=collector_pb2.StreamLimits(**limits))
    assert len(ranges(say_all(session))) == frames
    session.receive(0.0, ack(accepted_seq=20))
    assert ranges(say_all(session))[0] == (frames * 10 + 1, frames * 10 + 10)
    assert session.durable_seq == 0


def test_a_frame_larger_than_the_window_goes_alone(source):
    session = connected(source, limits=collector_pb2.StreamLimits(window_bytes=10))
    assert ranges(say_all(session)) == [(1, 10)]


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
    assert say_all(session, 1.4) == []
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
    assert [m.batch.first_seq or m.skip.first_seq for m in delivered] == list(range(1, 100, 10))


def test_a_permanent_refusal_stops_the_session_and_says_why(source):
    session = connected(source)
    session.end(0.0, StreamEnd("PERMISSION_DENIED", "not yours"))
    assert session.stopped == "PERMISSION_DENIED: not yours"
    assert not session.finished


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
