"""From segments to events: only what is wanted is opened, and a frame at a time."""

from __future__ import annotations

import tracemalloc

import pytest

from esper_telemetry import read
from esper_telemetry.decode.event_filter import Filter
from esper_telemetry.decode.faults import Faults
from esper_telemetry.decode.segments import SegmentDecoder
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.v1 import run_pb2, training_pb2


def decode(path, *, strict=True, expand=True, **wanted):
    faults = Faults(strict=strict)
    decoder = SegmentDecoder(Filter(**wanted), faults, expand=expand)
    with RecordReader(path) as reader:
        return [event for segment in reader.segments for event in decoder.events(reader, segment)], faults


def test_a_frame_without_a_wanted_type_is_not_opened(write_record, scalars):
    finished = [(run_pb2.RunFinished(outcome="RUN_OUTCOME_COMPLETED"), {})]
    path = write_record(scalars(10), finished)
    with RecordReader(path) as reader:
        first = next(reader.frames())
    data = bytearray(path.read_bytes())
    data[first.offset + 40] ^= 0xFF  # opening the first frame would fail
    path.write_bytes(data)
    events, faults = decode(path, types=("run.finished",))
    assert [event.data for event in events] == [{"outcome": "completed"}]
    assert not faults.damage


def test_a_concatenation_of_files_reads_as_both(write_record, scalars, tmp_path):
    one = write_record(scalars(3), path=tmp_path / "1.esr.zst", producer_id=b"1" * 16)
    two = write_record(
        [(training_pb2.EpochCompleted(val_accuracy=1.0), {"env_id": 0})],
        path=tmp_path / "2.esr.zst",
        producer_id=b"2" * 16,
    )
    both = tmp_path / "both.esr.zst"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    events, _ = decode(both)
    assert [event.type for event in events] == ["scalar.logged"] * 3 + ["epoch.completed"]


def test_memory_is_bounded_by_a_frame(write_record, scalars):
    path = write_record(*[scalars(500) for _ in range(40)])

    def peak(take):
        tracemalloc.start()
        for event in read(path):
            take(event)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(lambda _: None)
    kept = []
    assert peak(lambda _: None) < peak(kept.append) / 4


def test_an_event_kept_does_not_keep_its_frame(write_record, scalars):
    (event,) = read(write_record(scalars(500)), first_seq=7, last_seq=7)
    assert (type(event._payload), type(event._context)) == (bytes, bytes)


@pytest.mark.parametrize("rank", [0, 5])
def test_ranks_are_chosen_by_segment(write_record, scalars, rank):
    events, _ = decode(write_record(scalars(4), rank=5), ranks=frozenset([rank]))
    assert len(events) == (4 if rank == 5 else 0)
