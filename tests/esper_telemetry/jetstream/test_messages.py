"""Entries packed into messages come out in order and whole, and a message is acked with the last of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.jetstream.messages import MESSAGE_BYTES, Packer, Receipt, entries_of, settled
from esper_telemetry.v1 import log_pb2

ENTRIES = st.builds(
    lambda run, number: log_pb2.LogEntry(run_id=run, producer_id=b"p" * 16, session_epoch=number).SerializeToString(),
    st.text("abc", max_size=200),
    st.integers(0, (1 << 64) - 1),
)


@given(st.lists(st.tuples(st.sampled_from(["x", "y"]), ENTRIES), max_size=20))
def test_entries_come_out_in_order_under_their_subjects_and_protobuf_reads_the_same(said):
    packer = Packer()
    for subject, entry in said:
        packer.add(subject, entry)
    came = {"x": [], "y": []}
    for subject, message in packer.take():
        came[subject] += [bytes(entry) for entry in entries_of(message)]
        read = log_pb2.LogMessage.FromString(message)
        assert [entry.SerializeToString() for entry in read.entries] == [bytes(each) for each in entries_of(message)]
    assert came == {name: [entry for subject, entry in said if subject == name] for name in came}
    assert packer.take() == []


@given(st.lists(st.integers(1, 2 * MESSAGE_BYTES // 3), min_size=1, max_size=12))
def test_no_message_is_longer_than_it_should_be_unless_one_entry_is(sizes):
    packer = Packer()
    for size in sizes:
        packer.add("x", bytes(size))
    messages = [entries_of(message) for _, message in packer.take()]
    assert [len(entry) for entries in messages for entry in entries] == sizes
    assert all(len(entries) == 1 or sum(map(len, entries)) <= MESSAGE_BYTES for entries in messages)
    for before, after in pairwise(messages):
        assert sum(map(len, before)) + len(after[0]) > MESSAGE_BYTES, "a message is begun only where one is full"


def test_what_waits_for_the_fullest_subject_is_known():
    packer = Packer()
    assert not packer
    packer.add("x", b"1234")
    packer.add("y", b"12")
    packer.add("y", b"123")
    assert (bool(packer), packer.fullest) == (True, 5)
    packer.clear()
    assert (bool(packer), packer.fullest, packer.take()) == (False, 0, [])


@given(st.binary(max_size=60))
def test_a_message_is_read_as_protobuf_reads_it_or_refused(data):
    try:
        entries = entries_of(data)
    except CorruptRecordError:
        return
    assert sum(map(len, entries)) < len(data)


@pytest.mark.parametrize("data", [b"", b"\x0a", b"\x0a\x05abc", b"\x12\x01a", b"\x0a\x01a\x0a"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(CorruptRecordError, match="LogMessage"):
        entries_of(data)


def test_a_message_is_acked_with_the_last_of_its_entries():
    first, second = Receipt("first", 3), Receipt("second", 1)
    assert settled([first, first]) == []
    assert settled([second, first]) == ["second", "first"]
