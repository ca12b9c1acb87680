"""The client's pure session against the collector's pure session, over a wire that breaks at any place."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from esper_telemetry.collector.limits import Limits
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.session import Ledger
from esper_telemetry.collector.session import Session as CollectorSession
from esper_telemetry.recordfile import Skip, SkipReason
from esper_telemetry.recordfile.layout import Descriptor
from esper_telemetry.uplink.frames import Frame
from esper_telemetry.uplink.schema import StreamSchema
from esper_telemetry.uplink.session import Session
from esper_telemetry.uplink.verdict import Ending
from esper_telemetry.v1 import collector_pb2, record_pb2

FINISHED = collector_pb2.CLOSE_OUTCOME_FINISHED
LIMITS = Limits(window_frames=4, window_bytes=1000, frame_bytes=500)


def schema(number: int) -> StreamSchema:
    return StreamSchema(bytes([number]) * 32, record_pb2.Header(run_id="run", producer_id=b"p" * 16))


class ListSource:
    """Frames in memory; everything else as a Spool does it."""

    header = record_pb2.Header(run_id="run", producer_id=b"p" * 16, writer="test", rank=3)
    first_seq = 1

    def __init__(self) -> None:
        self.items: list[Frame | Skip] = []
        self.over = False
        self._next = 1
        self.written = 0

    def write(self, count: int, size: int = 100, number: int = 1) -> None:
        first, self.written = self.written + 1, self.written + count
        desc = Descriptor(size, size * 3, count, 1, first, self.written, first, self.written)
        self.items.append(Frame(desc, bytes([first % 256]) * size, schema(number)))

    def lose(self, count: int) -> None:
        self.items.append(Skip(self.written + 1, self.written + count, SkipReason.CORRUPT))
        self.written += count

    @property
    def schema(self) -> StreamSchema:
        frames = [item for item in self.items if isinstance(item, Frame) and item.last_seq >= self._next]
        return frames[0].schema if frames else schema(1)

    @property
    def final_seq(self) -> int:
        return self._next - 1

    @property
    def outcome(self) -> int | None:
        return FINISHED if self.over and self._next > self.written else None

    def seek(self, seq: int) -> None:
        self._next = seq

    def read(self) -> Frame | Skip | None:
        for item in self.items:
            if item.first_seq == self._next:
                self._next = item.last_seq + 1
                return item
        return None


class Collector:
    """A collector around the pure session: it stores in memory, and forgets in a crash what was not durable."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.stored: list[tuple[int, int, bytes]] = []
        self.stream: CollectorSession | None = None
        self.known = b""
        self.over = False

    def handle(self, message: collector_pb2.ClientMessage, now: float) -> list[collector_pb2.ServerMessage]:
        kind = message.WhichOneof("message")
        if kind == "hello":
            hello = message.hello
            self.ledger.claim(hello.session_epoch)
            known = hello.schema_fingerprint if hello.schema_fingerprint == self.known else b""
            self.stream = CollectorSession(self.ledger, hello.session_epoch, known, LIMITS, now)
            welcome = collector_pb2.Welcome(
                protocol=1,
                durable_seq=self.ledger.durable_seq,
                limits=LIMITS.to_proto(),
                heartbeat_ms=10_000,
                need_schema=not known,
                durability=collector_pb2.DURABILITY_FILE,
            )
            # What was on its way when the stream broke is settled before a new one starts.
            self.ledger.taken_seq = self.ledger.durable_seq
            self.stored = [piece for piece in self.stored if piece[1] <= self.ledger.durable_seq]
            return [collector_pb2.ServerMessage(welcome=welcome)]
        self.stream.heard(now)
        if kind == "schema":
            self.stream.schema(message.schema.fingerprint)
            self.known = message.schema.fingerprint
        elif kind == "batch" and self.stream.batch(message.batch, now):
            self.stored.append((message.batch.first_seq, message.batch.last_seq, message.batch.payload))
        elif kind == "skip" and (first := self.stream.skip(message.skip, now)):
            self.stored.append((first, message.skip.last_seq, b""))
        elif kind == "close":
            self.stream.close(message.close, now)
        elif kind == "heartbeat":
            return [collector_pb2.ServerMessage(heartbeat=message.heartbeat)]
        return self.acks(now)

    def acks(self, now: float) -> list[collector_pb2.ServerMessage]:
        if self.stream is None or not self.stream.ack_due(now):
            return []
        return [collector_pb2.ServerMessage(ack=self.stream.take_ack())]

    def sync(self, now: float) -> list[collector_pb2.ServerMessage]:
        self.ledger.settle(self.ledger.taken_seq)
        if self.stream is None:
            return []
        self.stream.settled(now)
        answers = [collector_pb2.ServerMessage(ack=self.stream.take_ack())] if self.stream.owes else []
        self.over = self.stream.closed is not None and self.stream.done
        return answers

    def crash(self) -> None:
        self.stored = [piece for piece in self.stored if piece[1] <= self.ledger.durable_seq]
        self.ledger = Ledger(self.ledger.durable_seq)
        self.stream = None

    def fail_to_store(self) -> None:
        self.stored = [piece for piece in self.stored if piece[1] <= self.ledger.durable_seq]
        self.ledger.rewind()


class Wire(RuleBasedStateMachine):
    """Everything that can happen to a stream, in any order; at the end the weather clears and all must arrive."""

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed):
        self.now = 0.0
        self.source = ListSource()
        self.session = Session(self.source, rng=random.Random(seed).random, client="test")
        self.collector = Collector()
        self.sent: deque[collector_pb2.ClientMessage] = deque()
        self.answers: deque[collector_pb2.ServerMessage] = deque()
        self.open = False
        self.told_durable = 0

    @rule(count=st.integers(1, 5), size=st.integers(1, 600), number=st.sampled_from([1, 1, 1, 2]))
    def write(self, count, size, number):
        if not self.source.over:
            self.source.write(count, size, number)

    @rule(count=st.integers(1, 5))
    def lose(self, count):
        if not self.source.over:
            self.source.lose(count)

    @rule()
    def finish(self):
        self.source.over = True

    @rule(seconds=st.sampled_from([0.01, 0.2, 5.0, 31.0]))
    def pass_time(self, seconds):
        self.now += seconds
        if self.session.dead(self.now):
            self.drop(Ending("DEADLINE_EXCEEDED"))

    @precondition(lambda self: not self.open)
    @rule()
    def connect(self):
        if self.now >= self.session.retry_at and not self.session.finished:
            self.session.connect(self.now)
            self.open = True

    @rule(count=st.integers(1, 6))
    def say(self, count):
        for _ in range(count if self.open else 0):
            message = self.session.send(self.now)
            if message is not None:
                self.sent.append(message)

    @rule(count=st.integers(1, 6))
    def hear(self, count):
        for _ in range(min(count, len(self.sent))):
            try:
                self.answers.extend(self.collector.handle(self.sent.popleft(), self.now))
            except Refused as refused:
                reason = refused.to_proto().reason
                self.drop(Ending(refused.status, str(refused), reason))
                return

    @rule()
    def sync(self):
        self.answers.extend(self.collector.sync(self.now))

    @rule(count=st.integers(1, 6))
    def deliver(self, count):
        for _ in range(min(count, len(self.answers))):
            self.session.receive(self.now, self.answers.popleft())
        if self.open and self.collector.over and not self.answers:
            self.drop(Ending("OK"))

    def drop(self, ending=None):
        self.sent.clear()
        self.answers.clear()
        self.collector.stream = None
        self.collector.over = False
        if self.open:
            self.open = False
            self.session.end(self.now, ending or Ending("UNAVAILABLE"))

    @rule()
    def break_connection(self):
        self.drop()

    @rule()
    def kill_collector(self):
        self.drop()
        self.collector.crash()

    @rule()
    def fill_disk(self):
        self.collector.fail_to_store()

    @rule()
    def drain(self):
        if self.open:
            drain = collector_pb2.Drain(reconnect_after_ms=100, jitter_ms=100)
            self.session.receive(self.now, collector_pb2.ServerMessage(drain=drain))
            self.drop()

    @invariant()
    def nothing_is_stored_twice_or_out_of_order(self):
        if not hasattr(self, "collector"):
            return
        expected = 1
        for first, last, _ in self.collector.stored:
            assert first == expected
            expected = last + 1

    @invariant()
    def the_client_never_takes_for_durable_what_is_not(self):
        if hasattr(self, "session"):
            assert self.session.durable_seq <= self.collector.ledger.durable_seq

    @invariant()
    def the_session_never_stops_for_good(self):
        if hasattr(self, "session"):
            assert self.session.stopped == ""

    def teardown(self):
        if not hasattr(self, "session"):
            return
        self.finish()
        for _ in range(400):
            if self.session.finished:
                break
            self.pass_time(0.2)
            if not self.open:
                self.connect()
            self.say(6)
            self.hear(6)
            self.sync()
            self.deliver(6)
        assert self.session.finished, "all is calm, and the stream does not end"
        assert [(first, last) for first, last, _ in self.collector.stored] == [
            (item.first_seq, item.last_seq) for item in self.source.items
        ]
        for (_, _, payload), item in zip(self.collector.stored, self.source.items, strict=True):
            assert payload == (item.payload if isinstance(item, Frame) and len(item.payload) <= 500 else b"")


TestWire = Wire.TestCase
TestWire.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


# --- one thing at a time ----------------------------------------------------------------------------------------------


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
        said.append(message)
    return said


def ranges(said):
    return [(m.batch.first_seq, m.batch.last_seq) for m in said if m.WhichOneof("message") == "batch"]


def test_the_hello_says_who_sends_and_from_where(source):
    session = Session(source, rng=lambda: 0.5, client="client/1")
    session.learn_epoch(7)
    session.connect(0.0)
    hello = session.send(0.0).hello
    assert (hello.run_id, hello.producer_id, hello.rank, hello.writer) == ("run", b"p" * 16, 3, "test")
    assert (hello.session_epoch, hello.client, hello.first_available_seq) == (8, "client/1", 1)
    assert hello.schema_fingerprint == schema(1).fingerprint
    assert session.send(0.0) is None, "nothing is said before the Welcome"


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
    session.end(100.0, Ending("OK"))
    assert not session.finished, "the last frame is not durable yet"
    session = connected(source, durable_seq=90)
    say_all(session)
    session.receive(0.0, ack(durable_seq=100, accepted_seq=100))
    session.end(0.0, Ending("OK"))
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
            session.end(0.0, Ending("DATA_LOSS"))
            break
        if durable == 100:
            break
    assert session.tally.skipped == {(41, 50): SkipReason.CORRUPT}
    assert [m.batch.first_seq or m.skip.first_seq for m in delivered] == list(range(1, 100, 10))


def test_a_permanent_refusal_stops_the_session_and_says_why(source):
    session = connected(source)
    session.end(0.0, Ending("PERMISSION_DENIED", "not yours"))
    assert session.stopped == "PERMISSION_DENIED: not yours"
    assert not session.finished


def test_a_drained_client_comes_back_when_it_was_told_to(source):
    session = connected(source)
    drain = collector_pb2.Drain(reconnect_after_ms=2000, jitter_ms=1000)
    session.receive(5.0, collector_pb2.ServerMessage(drain=drain))
    assert say_all(session, 5.0) == []
    session.end(6.0, Ending("OK"))
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
    session.end(0.0, Ending("UNAVAILABLE"))
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
