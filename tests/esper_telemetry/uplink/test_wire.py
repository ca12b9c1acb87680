"""The client's pure session against the collector's pure session, over a wire that breaks at any place."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.session import Session as CollectorSession
from esper_telemetry.collector.session import claim
from esper_telemetry.storage.sequence import SequenceNumbers
from esper_telemetry.uplink.retry import StreamEnd
from esper_telemetry.uplink.segment_frames import Frame
from esper_telemetry.uplink.session import Session
from esper_telemetry.uplink.terms import wire_bytes
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.uplink.listsource import ListSource

LIMITS = CollectorLimits(window_frames=4, window_bytes=1000, frame_bytes=500)


class Collector:
    """A collector around the pure session: it stores in memory, and forgets in a crash what was not durable."""

    def __init__(self) -> None:
        self.numbers = SequenceNumbers()
        self.stored: list[tuple[int, int, bytes]] = []
        self.stream: CollectorSession | None = None
        self.known = b""
        self.over = False

    def handle(self, message: collector_pb2.ClientMessage, now: float) -> list[collector_pb2.ServerMessage]:
        kind = message.WhichOneof("message")
        if kind == "hello":
            hello = message.hello
            claim(self.numbers, hello.session_epoch, CollectorLimits().epoch_step)
            known = hello.schema_fingerprint if hello.schema_fingerprint == self.known else b""
            self.stream = CollectorSession(self.numbers, hello.session_epoch, known, LIMITS, now)
            welcome = collector_pb2.Welcome(
                protocol=1,
                durable_seq=self.numbers.durable_seq,
                limits=LIMITS.to_proto(),
                heartbeat_ms=10_000,
                need_schema=not known,
                durability=collector_pb2.DURABILITY_FILE,
            )
            # What was on its way when the stream broke is settled before a new one starts.
            self.numbers.taken_seq = self.numbers.durable_seq
            self.stored = [piece for piece in self.stored if piece[1] <= self.numbers.durable_seq]
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
        self.numbers.settle(self.numbers.taken_seq)
        if self.stream is None:
            return []
        self.stream.settled(now)
        answers = [collector_pb2.ServerMessage(ack=self.stream.take_ack())] if self.stream.owes else []
        self.over = self.stream.closed is not None and self.stream.done
        return answers

    def crash(self) -> None:
        self.stored = [piece for piece in self.stored if piece[1] <= self.numbers.durable_seq]
        self.numbers = SequenceNumbers(self.numbers.durable_seq)
        self.stream = None

    def fail_to_store(self) -> None:
        self.stored = [piece for piece in self.stored if piece[1] <= self.numbers.durable_seq]
        self.numbers.rewind()


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
            self.drop(StreamEnd("DEADLINE_EXCEEDED"))

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
                self.sent.append(collector_pb2.ClientMessage.FromString(wire_bytes(message)))

    @rule(count=st.integers(1, 6))
    def hear(self, count):
        for _ in range(min(count, len(self.sent))):
            try:
                self.answers.extend(self.collector.handle(self.sent.popleft(), self.now))
            except Refused as refused:
                reason = refused.to_proto().reason
                self.drop(StreamEnd(refused.status, str(refused), reason))
                return

    @rule()
    def sync(self):
        self.answers.extend(self.collector.sync(self.now))

    @rule(count=st.integers(1, 6))
    def deliver(self, count):
        for _ in range(min(count, len(self.answers))):
            self.session.receive(self.now, self.answers.popleft())
        if self.open and self.collector.over and not self.answers:
            self.drop(StreamEnd("OK"))

    def drop(self, ending=None):
        self.sent.clear()
        self.answers.clear()
        self.collector.stream = None
        self.collector.over = False
        if self.open:
            self.open = False
            self.session.end(self.now, ending or StreamEnd("UNAVAILABLE"))

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
            assert self.session.durable_seq <= self.collector.numbers.durable_seq

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
