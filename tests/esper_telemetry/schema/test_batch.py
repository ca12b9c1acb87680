"""What a batch holds, and the sizes that keep a frame inside the format's limits."""

from __future__ import annotations

import pytest
import zstandard

from esper_telemetry.schema import MAX_BATCH_BYTES, MAX_EVENT_BYTES, Batch, frame_event
from esper_telemetry.v1.record_pb2 import RecordFile

FRAME_LIMIT = 960 * 1024  # of the format, compressed


def batch_of(*payloads: bytes) -> Batch:
    events = [frame_event(1, 100 + seq, seq, b"", payload) for seq, payload in enumerate(payloads, start=1)]
    return Batch(events, [1] * len(events), 1, len(events), 101, 100 + len(events))


def test_a_batch_of_events_is_one_record_file_message():
    batch = batch_of(b"a", b"b")
    assert [event.payload for event in RecordFile.FromString(batch.raw).event] == [b"a", b"b"]
    assert batch.records == batch.last_seq - batch.first_seq + 1 == 2
    assert batch.type_counts == {1: 2}


def test_batches_do_not_share_their_new_types():
    first, second = batch_of(b"a"), batch_of(b"b")
    first.new_types.append((1, None))
    assert second.new_types == []


def test_the_fullest_batch_stays_inside_the_frame_limit_even_when_nothing_compresses():
    # zstd's own bound for data that do not compress: 3 bytes for each block of 128 KiB, and the frame's header.
    worst = MAX_BATCH_BYTES + 3 * (MAX_BATCH_BYTES // (128 * 1024) + 1) + 22
    assert worst <= FRAME_LIMIT
    assert len(zstandard.ZstdCompressor(level=3).compress(bytes(range(256)) * (MAX_BATCH_BYTES // 256))) <= worst


def test_the_largest_event_fits_into_a_batch():
    assert len(frame_event(2**32 - 1, 2**64 - 1, 2**64 - 1, b"c" * 1024, b"p" * MAX_EVENT_BYTES)) < MAX_BATCH_BYTES


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"type_ids": [1]}, "2 events have 1 type ids"), ({"raw_size": 7}, "raw_size is 7, and the events have")],
)
def test_what_contradicts_the_events_of_a_batch_is_refused(changed, told):
    events = [frame_event(1, 101 + at, 1 + at, b"", b"") for at in range(2)]
    with pytest.raises(ValueError, match=told):
        Batch(
            **{"events": events, "type_ids": [1, 1], "first_seq": 1, "last_seq": 2, "min_time": 101, "max_time": 102}
            | changed
        )


def test_a_batch_with_other_values_is_a_copy_that_shares_nothing_that_changes():
    batch = batch_of(b"a", b"b")
    other = batch.replace(last_seq=9, max_time=500)
    assert (other.first_seq, other.last_seq, other.min_time, other.max_time) == (1, 9, 101, 500)
    assert (other.raw, other.records, other.type_counts) == (batch.raw, 2, {1: 2})
    assert other.batch_range is None
    other.type_counts[1] += 1
    other.new_types.append((1, None))
    assert (batch.last_seq, batch.type_counts, batch.new_types) == (2, {1: 2}, [])
    assert batch.replace(type_counts={7: 5}).records == 5
    assert batch.replace() == batch
    assert batch.replace() is not batch


def test_a_batch_for_another_reader_declares_other_types():
    batch = batch_of(b"a").replace(step_range=(3, 4), new_types=[(1, None)])
    other = batch.declaring(iter([(2, None)]))
    assert other == batch.replace(new_types=[(2, None)])
    assert (other.step_range, other.new_types, batch.new_types) == ((3, 4), [(2, None)], [(1, None)])


def test_a_batch_has_no_attributes_but_its_own():
    with pytest.raises(TypeError, match="a Batch has no events, seq; it has raw, type_counts, records"):
        batch_of(b"a").replace(seq=1, events=[])
