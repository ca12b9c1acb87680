import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.session import Session, claim, fence
from esper_telemetry.storage.sequence import SequenceNumbers, Verdict
from esper_telemetry.v1 import collector_pb2

FINGERPRINT = b"f" * 32


def batch(first, last, **changes) -> collector_pb2.Batch:
    return collector_pb2.Batch(**{"first_seq": first, "last_seq": last, "count": last - first + 1, **changes})


def session(numbers=None, epoch=1, fingerprint=FINGERPRINT, now=0.0, **limits) -> Session:
    numbers = numbers or SequenceNumbers()
    claim(numbers, epoch, 1 << 32)
    return Session(numbers, epoch, fingerprint, CollectorLimits(**limits), now)


def reason(action, *arguments) -> str:
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value.reason


def test_the_next_number_is_taken_and_what_is_there_is_a_duplicate():
    one = session(SequenceNumbers(durable_seq=10))
    assert one.batch(batch(11, 20), 0)
    assert not one.batch(batch(11, 20), 0)
    assert not one.batch(batch(1, 10), 0)
    assert one.duplicates == 2


def test_a_gap_is_answered_at_once_with_the_number_to_resend_from():
    one = session()
    assert one.batch(batch(1, 5), 0)
    assert not one.batch(batch(7, 9), 0)
    assert one.ack_due(0)
    assert one.take_ack().resend_from == 6
    assert not one.batch(batch(10, 12), 0), "sent before the client read the ack"
    assert one.take_ack().resend_from == 0, "asked once"
    assert one.batch(batch(6, 6), 0)


def test_a_client_that_ignores_resend_from_is_refused_after_a_window():
    one = session(window_frames=4)
    for number in range(5):
        assert not one.batch(batch(10 + number, 10 + number), 0)
    assert reason(one.batch, batch(20, 20), 0) == "GAP"


def test_a_second_gap_is_asked_for_again():
    one = session()
    assert not one.batch(batch(5, 5), 0)
    assert one.ack_due(0), "at once, though nothing was stored"
    assert one.take_ack().resend_from == 1
    assert one.batch(batch(1, 1), 0)
    assert not one.batch(batch(3, 3), 0)
    assert one.take_ack().resend_from == 2


@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 4), (0, 0), (1, 1 << 63)])
def test_what_is_no_range_is_refused(first, last):
    assert reason(session().batch, batch(first, last, count=0), 0) == "NUMBERS"


def test_a_frame_that_straddles_what_is_stored_is_refused_and_a_skip_is_trimmed():
    one = session(SequenceNumbers(durable_seq=10))
    with pytest.raises(Refused) as caught:
        one.batch(batch(5, 15), 0)
    assert (caught.value.reason, caught.value.expected_seq) == ("NUMBERS", 11)
    assert one.skip(collector_pb2.Skip(first_seq=5, last_seq=15), 0) == 11
    assert one.batch(batch(16, 17), 0)


def test_more_events_than_numbers_are_refused():
    assert reason(session().batch, batch(1, 2, count=3), 0) == "NUMBERS"


def test_frames_and_skips_need_a_schema_first():
    one = session(fingerprint=b"")
    with pytest.raises(Refused, match="a message without fingerprint came before the Schema"):
        one.batch(batch(1, 1), 0)
    with pytest.raises(Refused, match=f"fingerprint {'67' * 8}… came before the Schema"):
        one.batch(batch(1, 1, schema_fingerprint=b"g" * 32), 0)
    assert reason(one.skip, collector_pb2.Skip(first_seq=1, last_seq=1), 0) == "SCHEMA_UNKNOWN"
    assert one.schema(FINGERPRINT)
    assert not one.schema(FINGERPRINT), "the same one again is nothing new"
    assert one.batch(batch(1, 1, schema_fingerprint=FINGERPRINT), 0)
    assert reason(one.batch, batch(2, 2, schema_fingerprint=b"g" * 32), 0) == "SCHEMA_UNKNOWN"


@pytest.mark.parametrize("epoch", [2, 3, 9], ids=["equal", "higher", "far above"])
def test_a_stream_at_another_gateway_fences_the_one_here(epoch):
    numbers = SequenceNumbers()
    one = session(numbers, epoch=2)
    refused = fence(numbers, epoch)
    assert refused.reason == "FENCED"
    assert f"session_epoch {epoch}, at another gateway" in refused.message
    assert reason(one.heard, 0) == "FENCED"
    assert reason(claim, numbers, epoch, 1 << 32) == "FENCED"
    claim(numbers, max(epoch, 3) + 1, 1 << 32)


def test_only_the_highest_epoch_writes():
    numbers = SequenceNumbers()
    old = session(numbers, epoch=3)
    assert reason(claim, numbers, 3, 1 << 32) == "FENCED"
    new = session(numbers, epoch=4)
    assert reason(old.heard, 1.0) == "FENCED"
    new.heard(1.0)


def test_nothing_comes_after_close():
    one = session()
    assert one.batch(batch(1, 3), 0)
    assert one.close(collector_pb2.Close(final_seq=3, outcome=collector_pb2.CLOSE_OUTCOME_FINISHED), 0)
    assert reason(one.heard, 1.0) == "MESSAGE_ORDER"


def test_a_close_that_comes_too_early_asks_for_what_is_missing():
    one = session()
    assert one.batch(batch(1, 3), 0)
    assert not one.close(collector_pb2.Close(final_seq=9), 0)
    assert one.take_ack().resend_from == 4
    assert one.closed is None
    assert reason(one.close, collector_pb2.Close(final_seq=2), 0) == "NUMBERS"
    assert one.close(collector_pb2.Close(outcome=collector_pb2.CLOSE_OUTCOME_INCOMPLETE), 0)


def test_silence_for_three_heartbeats_is_death():
    one = session(now=100.0)
    assert not one.expired(130.0)
    assert one.expired(130.1)
    one.heard(130.0)
    assert not one.expired(160.0)


def test_an_ack_is_due_after_eight_durable_frames_or_fifty_milliseconds():
    numbers = SequenceNumbers()
    one = session(numbers)
    assert not one.owes
    for number in range(1, 9):
        one.batch(batch(number, number), 0.0)
    assert one.owes
    assert not one.ack_due(0.049)
    numbers.settle(7)
    one.settled(0.01)
    assert not one.ack_due(0.02)
    numbers.settle(8)
    one.settled(0.02)
    assert one.ack_due(0.02)
    ack = one.take_ack()
    assert (ack.durable_seq, ack.accepted_seq) == (8, 8)
    assert not one.owes
    one.batch(batch(9, 9), 1.0)
    assert one.ack_due(1.051)
    assert (one.take_ack().durable_seq, one.in_flight) == (8, 1)


def test_frames_that_keep_coming_do_not_put_an_ack_off():
    one = session()
    for number in range(1, 6):
        one.batch(batch(number, number), (number - 1) / 100)
    assert not one.ack_due(0.049)
    assert one.ack_due(0.05)


def test_what_was_on_its_way_to_a_failing_disk_is_the_next_to_come_again():
    numbers = SequenceNumbers()
    one = session(numbers)
    one.batch(batch(1, 5), 0)
    numbers.settle(5)
    one.batch(batch(6, 9), 0)
    assert not one.done
    numbers.rewind()
    assert one.done
    assert numbers.judge(6, 9) is Verdict.NEXT


def test_throttling_is_said_once():
    one = session()
    one.throttle(20.25, 0)
    assert one.owes
    assert one.take_ack().throttle_ms == 20_250
    assert one.take_ack().throttle_ms == 0
    one.throttle(1e9, 0)
    assert one.take_ack().throttle_ms == 3_600_000, "an hour at most"


def test_what_came_before_is_owed_an_ack_that_counts_it_as_there_already():
    one = session(SequenceNumbers(durable_seq=10))
    assert not one.batch(batch(1, 10), 0.0)
    assert one.owes
    assert one.take_ack() == collector_pb2.Ack(durable_seq=10, accepted_seq=10, duplicates=1)
    assert one.skip(collector_pb2.Skip(first_seq=5, last_seq=15), 0) == 11
    assert one.take_ack().resend_from == 0, "the part that is stored was not lost, and nothing is missing"


def test_a_client_that_did_nothing_wrong_is_told_of_nothing_but_numbers():
    one = session(SequenceNumbers(durable_seq=10))
    one.batch(batch(11, 20), 0)
    assert one.take_ack() == collector_pb2.Ack(durable_seq=10, accepted_seq=20)


def test_what_becomes_durable_is_owed_to_the_client_once():
    numbers = SequenceNumbers()
    one = session(numbers)
    one.batch(batch(1, 5), 0.0)
    one.take_ack()
    one.settled(1.0)
    assert not one.owes, "nothing changed on the disk"
    assert not one.ack_due(1.0)
    numbers.settle(5)
    one.settled(2.0)
    assert one.owes
    assert not one.ack_due(2.0)
    assert one.ack_due(2.06)
    assert one.take_ack().durable_seq == 5
    one.settled(3.0)
    assert not one.owes


class Streams(RuleBasedStateMachine):
    """Streams of one producer that overlap, resend, skip, ignore and crash, against a list of what is stored.

    The model keeps every number that was put, in order. Whatever clients do, it stays 1, 2, 3, ... without a hole
    or a repetition, and no ack says more is durable than the disk has.
    """

    @initialize()
    def start(self):
        self.put: list[int] = []
        self.on_disk = 0
        self.numbers = SequenceNumbers()
        self.sessions: list[Session] = []
        self.now = 0.0
        self.acked = 0
        self.reasons: set[str] = set()

    def _try(self, one, action, *arguments):
        try:
            one.heard(self.now)
            return action(*arguments)
        except Refused as refused:
            if one in self.sessions:
                self.sessions.remove(one)
            self.reasons.add(refused.reason)
            return None

    @rule(step=st.integers(-1, 2))
    def connect(self, step):
        epoch = self.numbers.epoch + step
        try:
            claim(self.numbers, epoch, 1 << 32)
        except Refused:
            assert step <= 0
            return
        assert step > 0
        self.sessions.append(Session(self.numbers, epoch, FINGERPRINT, CollectorLimits(window_frames=3), self.now))

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), offset=st.integers(-8, 6), span=st.integers(1, 5))
    def send(self, data, offset, span):
        one = data.draw(st.sampled_from(self.sessions))
        first = max(1, self.numbers.taken_seq + 1 + offset)
        if self._try(one, one.batch, batch(first, first + span - 1), self.now):
            self.put.extend(range(first, first + span))

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), offset=st.integers(-8, 6), span=st.integers(1, 5))
    def skip(self, data, offset, span):
        one = data.draw(st.sampled_from(self.sessions))
        first = max(1, self.numbers.taken_seq + 1 + offset)
        start = self._try(one, one.skip, collector_pb2.Skip(first_seq=first, last_seq=first + span - 1), self.now)
        if start:
            self.put.extend(range(start, first + span))

    @rule(part=st.floats(0, 1))
    def sync(self, part):
        self.on_disk += int((len(self.put) - self.on_disk) * part)
        self.numbers.settle(self.on_disk)
        for one in self.sessions:
            one.settled(self.now)

    @rule()
    def disk_fails(self):
        del self.put[self.on_disk :]
        self.numbers.rewind()
        self.sessions.clear()

    @rule()
    def collector_is_killed(self):
        del self.put[self.on_disk :]
        self.numbers = SequenceNumbers(self.on_disk)
        self.sessions.clear()

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), seconds=st.floats(0, 0.1))
    def ack(self, data, seconds):
        self.now += seconds
        one = data.draw(st.sampled_from(self.sessions))
        if one.ack_due(self.now):
            ack = one.take_ack()
            assert ack.durable_seq <= self.on_disk
            assert ack.durable_seq <= ack.accepted_seq
            self.acked = max(self.acked, ack.durable_seq)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), offset=st.integers(-2, 2))
    def close(self, data, offset):
        one = data.draw(st.sampled_from(self.sessions))
        final = max(0, self.numbers.taken_seq + offset)
        if self._try(one, one.close, collector_pb2.Close(final_seq=final), self.now):
            assert final == self.numbers.taken_seq

    @invariant()
    def every_number_is_stored_once_and_in_order(self):
        if hasattr(self, "put"):
            assert self.put == list(range(1, len(self.put) + 1))
            assert self.numbers.taken_seq == len(self.put)
            assert self.acked <= self.on_disk
            assert self.reasons <= {"FENCED", "NUMBERS", "GAP", "MESSAGE_ORDER"}


Streams.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_streams_that_overlap_resend_and_crash_store_every_number_once = Streams.TestCase


def test_an_epoch_that_is_no_count_of_connects_is_refused_and_locks_nobody_out():
    numbers = SequenceNumbers()
    for leap in (1 << 63, (1 << 64) - 1, 101):
        with pytest.raises(Refused) as caught:
            claim(numbers, leap, 100)
        assert caught.value.reason == "NUMBERS"
    claim(numbers, 100, 100)
    claim(numbers, 101, 100)


def test_what_is_gone_is_asked_for_again():
    numbers = SequenceNumbers(100)
    numbers.take(120)
    numbers.restart(40)
    assert (numbers.durable_seq, numbers.taken_seq) == (40, 40)
    assert numbers.judge(41, 50) is Verdict.NEXT
