"""Entries in any order, lost, repeated, from fenced streams: what is ready is every number once, in order."""

from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.jetstream.entries import ArrivedEntry, Open, SessionId
from esper_telemetry.jetstream.sequencer import WINDOW, Sequencer
from esper_telemetry.recordfile.layout import Descriptor, Skip
from esper_telemetry.storage.engine import PutFrame, PutSchema, PutSkip, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.sequence import SequenceNumbers
from esper_telemetry.v1 import record_pb2

KEY = ProducerKey("run", b"p" * 16)
NOW, OLD, OTHER = SessionId(2, 7), SessionId(1, 5), SessionId(2, 9)
FIRST, SECOND = b"f" * 32, b"s" * 32


def frame(first, last, fingerprint=FIRST, session=NOW) -> ArrivedEntry:
    put = PutFrame(b"payload", Descriptor(0, 0, last - first + 1, first, last, 0, 0, 0))
    return ArrivedEntry(KEY, session, put, fingerprint, first, last)


def skip(first, last, session=NOW) -> ArrivedEntry:
    return ArrivedEntry(KEY, session, PutSkip(Skip(first, last, 1)), b"", first, last)


def schema(fingerprint=FIRST, session=NOW) -> ArrivedEntry:
    return ArrivedEntry(KEY, session, PutSchema(record_pb2.Header(), b"", fingerprint), fingerprint)


def seal(last, session=NOW) -> ArrivedEntry:
    return ArrivedEntry(KEY, session, Seal(), last_seq=last)


def knowing(durable_seq=0, **how) -> Sequencer:
    sequencer = Sequencer(SequenceNumbers(durable_seq), NOW, **how)
    sequencer.offer(schema(), "schema")
    return sequencer


def numbers(step) -> list[int]:
    return [offered.arrival.first_seq for offered in step.ready]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.sampled_from([NOW, NOW, OLD, OTHER])), max_size=120),
    st.integers(1, 8),
)
def test_every_number_is_ready_once_and_in_order_and_every_message_is_answered_for(sizes, deliveries, window):
    entries, at = [], 1
    for size in sizes:
        entries.append((at, at + size - 1))
        at += size
    sequencer, ready, useless, tokens = knowing(window=window), [], [], []

    def offer(arrival) -> None:
        tokens.append(str(len(tokens)))
        step = sequencer.offer(arrival, tokens[-1])
        ready.extend(step.ready)
        useless.extend(step.useless)
        assert sequencer.held[0] <= window

    for index, session in deliveries:
        offer(frame(*entries[index % len(entries)], session=session))
    for first, last in entries:  # the gateway publishes all of it again
        offer(frame(first, last))
    assert [(o.arrival.first_seq, o.arrival.last_seq) for o in ready] == entries
    assert all(o.arrival.session == NOW for o in ready)
    assert sequencer.held == (0, 0)
    assert sorted([o.token for o in ready] + useless) == sorted(tokens)


def test_what_comes_too_early_waits_for_what_is_missing():
    sequencer = knowing(10)
    assert sequencer.offer(frame(21, 30), "b") == ([], [])
    assert sequencer.held == (1, len(b"payload"))
    step = sequencer.offer(frame(11, 20), "a")
    assert [offered.token for offered in step.ready] == ["a", "b"]


def test_a_second_delivery_takes_the_place_of_the_first():
    sequencer = knowing()
    sequencer.offer(frame(11, 20), "once")
    assert sequencer.offer(frame(11, 20), "again").useless == ["once"]


def test_a_frame_waits_for_its_schema_and_a_skip_for_any():
    sequencer = Sequencer(SequenceNumbers(), NOW)
    assert sequencer.offer(skip(1, 5), "skip") == ([], [])
    assert sequencer.offer(frame(6, 9, SECOND), "frame") == ([], [])
    step = sequencer.offer(schema(FIRST), "first")
    assert (numbers(step), step.useless) == ([1], ["first"])
    assert numbers(sequencer.offer(schema(SECOND), "second")) == [6]


def test_a_higher_epoch_takes_over_and_forgets_what_the_older_stream_left_waiting():
    sequencer = Sequencer(SequenceNumbers(), OLD)
    sequencer.offer(schema(session=OLD), "schema")
    sequencer.offer(frame(5, 9, session=OLD), "held")
    assert sequencer.offer(ArrivedEntry(KEY, NOW, Open()), "open").useless == ["held", "open"]
    assert sequencer.session == NOW
    assert sequencer.offer(frame(1, 4, session=OLD), "late") == ([], ["late"])
    assert sequencer.counts["fenced"] == 1
    assert numbers(sequencer.offer(frame(1, 4), "new")) == [1]


def test_of_two_streams_with_one_epoch_the_first_writes():
    sequencer = Sequencer(SequenceNumbers(), OLD)
    sequencer.offer(ArrivedEntry(KEY, NOW, Open()), "first")
    sequencer.offer(ArrivedEntry(KEY, OTHER, Open()), "second")
    assert sequencer.session == NOW


def test_what_is_over_the_bound_is_refused_but_never_what_is_next():
    sequencer = knowing()
    for number in range(WINDOW):
        sequencer.offer(frame(10 + number, 10 + number), f"{number}")
    assert sequencer.offer(frame(5000, 5000), "over") == ([], ["over"])
    assert sequencer.counts["overflow"] == 1
    assert numbers(sequencer.offer(frame(1, 9), "next")) == [1, *range(10, 10 + WINDOW)]


def test_numbers_that_cannot_be_are_of_no_use():
    sequencer = knowing(10)
    assert sequencer.offer(frame(5, 15), "straddles").useless == ["straddles"]
    assert sequencer.offer(frame(0, 3), "none").useless == ["none"]
    assert sequencer.counts["broken"] == 2


def test_a_seal_waits_for_the_numbers_before_it_and_is_dropped_where_more_came():
    sequencer = knowing()
    assert sequencer.offer(seal(4), "seal") == ([], [])
    step = sequencer.offer(frame(1, 4), "frame")
    assert [offered.token for offered in step.ready] == ["frame", "seal"]
    sequencer.offer(frame(5, 9), "more")
    assert sequencer.offer(seal(4), "late").useless == ["late"]


def test_a_rewind_has_everything_come_again():
    sequencer = knowing()
    sequencer.offer(frame(1, 4), "a")
    sequencer.numbers.settle(4)
    sequencer.offer(frame(5, 9), "b")
    sequencer.offer(frame(20, 29), "held")
    sequencer.rewind()
    assert sequencer.held == (0, 0)
    assert numbers(sequencer.offer(frame(5, 9), "b again")) == [5]
