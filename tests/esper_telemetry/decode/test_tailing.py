"""The end of a record, and what is written behind it."""

from __future__ import annotations

import shutil

import pytest

import esper_telemetry
from esper_telemetry import RecordOptions
from esper_telemetry.decode import Filter, Tail
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.v1 import steps_pb2, training_pb2

SMALL = RecordOptions(segment_bytes=12_000, frame_bytes=2_000, flush_interval=0.05)


def emit(run, numbers):
    for number in numbers:
        run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5, step=number)
        if number % 100 == 99:
            run.flush()


def steps_of(events):
    return [event.data["step"] for event in events if event.type == "scalar.logged"]


def test_the_last_events_come_from_as_many_segments_as_it_takes(tmp_path):
    with esper_telemetry.start_run(tmp_path, name="t", run_id="t", record=SMALL) as run:
        emit(run, range(2_000))
    assert len(list(run.folder.iterdir())) > 2
    assert steps_of(Tail(run.folder, Filter(types=("scalar.*",))).last(1_500)) == list(range(500, 2_000))
    assert [event.type for event in Tail(run.folder, Filter()).last(1)] == ["run.finished"]
    assert Tail(run.folder, Filter()).last(0) == []
    assert len(Tail(run.folder, Filter()).last(10_000)) == 2_002


def test_ranks_are_merged_before_they_are_cut(tmp_path):
    runs = [esper_telemetry.start_run(tmp_path, name="t", run_id="t", rank=rank) for rank in range(2)]
    for number in range(20):
        emit(runs[number % 2], [number])
    for run in runs:
        run.close()
    tail = Tail(tmp_path / "t", Filter(types=("scalar.*",)))
    assert steps_of(tail.last(6)) == [14, 15, 16, 17, 18, 19]
    assert tail.streams == 2
    assert steps_of(Tail(tmp_path / "t", Filter(ranks=frozenset([1]))).last(3)) == [17, 19]


def test_what_follows_is_given_with_the_same_values_and_bytes_as_by_a_reader(tmp_path):
    options = RecordOptions(compact=False)
    with esper_telemetry.start_run(tmp_path, name="t", run_id="t", record=options) as run:
        tail = Tail(run.folder, Filter())
        emit(run, range(300))
        ops = {"field": "op", "labels": ["WAIT", "CULL"], "numbers": [1, 3], "indices": bytes([0, 1])}
        run.emit(steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=2, envs=1, columns=[ops]))
        emit(run, range(300, 400))

    def seen(events):
        return [(one.position, one.time_unix_nano, one.type, one.data, one.size) for one in events]

    assert seen(event for events in tail.follow() for event in events) == seen(esper_telemetry.read(run.folder))
    found = [event for events in Tail(run.folder, Filter(steps=(95, 104))).follow() for event in events]
    assert seen(found) == seen(esper_telemetry.read(run.folder, steps=(95, 104)))
    late = Tail(run.folder, Filter(types=("scalar.*",), first_seq=120, last_seq=130))
    assert [event.seq for event in late.last(3)] == [128, 129, 130]
    assert list(late.follow()) == []


def test_what_is_written_later_follows_once_and_in_order_over_rotation(tmp_path):
    run = esper_telemetry.start_run(tmp_path, name="t", run_id="t", record=SMALL)
    emit(run, range(150))
    run.flush()
    tail = Tail(run.folder, Filter(types=("scalar.*",)))
    assert steps_of(tail.last(5)) == [145, 146, 147, 148, 149]

    found = []
    written = iter([range(150, 1_000), range(1_000, 2_000), None])

    def sleep(_):
        numbers = next(written, ())
        run.close() if numbers is None else emit(run, numbers)
        run.flush() if numbers else None

    for events in tail.follow(sleep=sleep):
        found += events
    assert steps_of(found) == list(range(150, 2_000))
    assert len(list(run.folder.iterdir())) > 2
    assert not tail.warnings


def test_a_rank_that_starts_later_is_followed_too(tmp_path):
    runs = [esper_telemetry.start_run(tmp_path, name="t", run_id="t", record=SMALL)]
    tail = Tail(runs[0].folder, Filter(types=("scalar.*",)))
    tail.last(1)

    def sleep(_):
        if len(runs) == 1:
            runs.append(esper_telemetry.start_run(tmp_path, name="t", run_id="t", rank=1, record=SMALL))
            emit(runs[1], [7])
        for run in runs:
            run.close()

    (event,) = [event for events in tail.follow(sleep=sleep) for event in events]
    assert (event.rank, event.data["step"]) == (1, 7)


def test_a_writer_that_was_killed_ends_the_tail_and_its_cut_is_told(write_record, scalars):
    path = write_record(scalars(10), scalars(10), close=False)
    path.write_bytes(path.read_bytes()[:-5])
    tail = Tail(path, Filter())
    assert len(tail.last(3)) == 3
    assert list(tail.follow(sleep=lambda _: None)) == []
    assert any("file ends inside frame 2" in warning for warning in tail.warnings)


@pytest.mark.parametrize("expand", [True, False])
def test_blocks_are_expanded_as_in_reading(record_run, expand):
    from esper_telemetry.v1 import steps_pb2

    def fill(run):
        block = steps_pb2.StepBlock(
            row_type="esper.v1.ActionTaken", steps=1, envs=3, columns=[{"field": "op_masked", "flags": b"\x05"}]
        )
        run.bind(batch_idx=1).emit(block)

    types = [event.type for event in Tail(record_run(fill), Filter(), expand=expand).last(3)]
    assert types == (
        ["policy.action_taken"] * 2 + ["run.finished"] if expand else ["run.started", "steps.block", "run.finished"]
    )


PRUNED = RecordOptions(segment_bytes=10_000, frame_bytes=2_000, keep_bytes=24_000, flush_interval=0.05)


def test_events_that_were_pruned_ahead_are_told_with_their_numbers_and_the_rest_is_given(tmp_path):
    run = esper_telemetry.start_run(tmp_path, name="t", run_id="t", record=PRUNED)
    emit(run, range(100))
    run.flush()
    tail = Tail(run.folder, Filter())
    found = [event.seq for event in tail.last(1_000)]
    written = iter([range(100, 3_000), None])

    def sleep(_):
        numbers = next(written, ())
        run.close() if numbers is None else emit(run, numbers)

    for events in tail.follow(sleep=sleep):
        found += [event.seq for event in events]
    assert found == sorted(set(found)), "each once and in order"
    lost = set(range(1, 3_003)) - set(found)
    assert lost
    assert found[-1] == 3_002
    told = " ".join(tail.warnings)
    assert f"numbers {min(lost):,} to {max(lost):,} are lost" in told
    assert "removed before they were read" in told


def test_the_end_of_a_stream_that_was_killed_is_told(write_record, scalars):
    tail = Tail(write_record(scalars(10), close=False), Filter())
    assert len(tail.last(3)) == 3
    assert list(tail.follow(sleep=lambda _: None)) == []
    assert any("no end: its writer is gone" in warning for warning in tail.warnings)


def test_segments_that_vanish_before_the_tail_reads_them_are_told(tmp_path):
    with esper_telemetry.start_run(tmp_path, name="t", run_id="t", record=SMALL) as run:
        emit(run, range(3_000))
    tail = Tail(run.folder, Filter(types=("scalar.*",)))
    sorted(run.folder.iterdir())[-3].unlink()  # the last one may hold the end of the run alone
    steps = steps_of(tail.last(2_000))
    assert steps[-1] == 2_999
    assert any("are missing" in warning for warning in tail.warnings)


def test_a_copy_beside_the_segment_is_followed_once(tmp_path):
    run = esper_telemetry.start_run(tmp_path, name="t", run_id="t", record=SMALL)
    emit(run, range(200))
    run.flush()
    (path,) = run.folder.iterdir()
    shutil.copy(path, run.folder / "a copy.esr.zst")
    tail = Tail(run.folder, Filter(types=("scalar.*",)))
    found = steps_of(tail.last(1_000))
    written = iter([range(200, 300), None])

    def sleep(_):
        numbers = next(written, ())
        run.close() if numbers is None else emit(run, numbers)

    for events in tail.follow(sleep=sleep):
        found += steps_of(events)
    assert found == list(range(300))


def test_a_last_segment_without_header_is_read_by_that_of_its_sibling(tmp_path):
    with esper_telemetry.start_run(tmp_path, name="t", run_id="t", record=SMALL) as run:
        emit(run, range(2_000))
    last = max(run.folder.iterdir())
    data = bytearray(last.read_bytes())
    with RecordReader(last) as reader:
        first = next(iter(reader.frames())).offset
    data[24:first] = bytes(first - 24)
    last.write_bytes(data)
    tail = Tail(run.folder, Filter(types=("scalar.*",)))
    assert steps_of(tail.last(5)) == list(range(1_995, 2_000))
    assert list(tail.follow(sleep=lambda _: None)) == []
    assert "its header is lost" in " ".join(tail.warnings)
