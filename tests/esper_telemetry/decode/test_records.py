"""Reading real runs back: what the recorder was given comes out, in order, by the record's own descriptors."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import pytest

import esper_telemetry
from esper.v1 import seed_pb2
from esper_telemetry import RecordOptions, read
from esper_telemetry.errors import CorruptRecordError, NotARecordError
from esper_telemetry.recordfile import RecordReader, Selection, filter_record, merge
from esper_telemetry.v1 import training_pb2


def types_of(records):
    return [event.type for event in records]


def test_a_run_comes_back_as_it_was_emitted(record_run):
    events = list(read(record_run()))
    assert types_of(events) == [
        "run.started", "seed.germinated", "seed.culled", "epoch.completed", "counterfactual.computed",
        "policy.action_distribution", "ppo.update_completed", "scalar.logged", "scalar.logged", "run.finished",
    ]  # fmt: skip
    assert [event.seq for event in events] == list(range(1, 11))
    assert events[2].data == {
        "slot_id": "mid", "seed_id": "s-1", "from_stage": "TRAINING", "alpha": 0.25,
        "env_id": 0, "device": "cuda:0", "inner_epoch": 1, "global_epoch": 3,
    }  # fmt: skip
    assert events[4].data["reason"] == "missing_baseline"
    assert events[5].data["action_counts"] == {"cull": 0, "germinate": 2, "wait": 7}
    assert list(events[5].data["action_counts"]) == ["cull", "germinate", "wait"], "maps are sorted by key"
    assert events[6].data["heads"] == [{"head": "op", "entropy": 1.25}, {"head": "slot"}]
    assert events[6].data["lr"] == 0.0003


def test_what_was_not_measured_is_absent_and_a_measured_zero_is_there(record_run):
    epoch = next(iter(read(record_run(), types="epoch.completed")))
    assert epoch.data["val_accuracy"] == 0.0
    assert math.isnan(epoch.data["train_loss"])
    assert "train_accuracy" not in epoch.data
    assert "episode" not in epoch.data
    assert not epoch.context.HasField("episode")
    assert epoch.context.env_id == 1


def test_a_field_of_the_payload_hides_the_context_of_the_same_name(record_run):
    logged = list(read(record_run(), types="scalar.logged"))[-1]
    assert logged.data["step"] == 1
    assert logged.context.step == 9


def test_records_can_be_iterated_over_again(record_run):
    records = read(record_run())
    assert types_of(records) == types_of(records)
    assert not records.warnings


@pytest.mark.parametrize("types", ["seed.culled", "esper.v1.SeedCulled", seed_pb2.SeedCulled, ["seed.cu*"]])
def test_types_are_chosen_by_short_name_full_name_pattern_or_class(record_run, types):
    assert types_of(read(record_run(), types=types)) == ["seed.culled"]


def test_environments_are_chosen_by_context(record_run):
    folder = record_run()
    assert types_of(read(folder, envs=[1])) == ["epoch.completed", "counterfactual.computed"]
    assert types_of(read(folder, envs=[0, 1], types="*.completed")) == ["epoch.completed"]


def test_numbers_and_times_choose_a_window(record_run):
    folder = record_run()
    events = list(read(folder))
    assert [event.seq for event in read(folder, first_seq=3, last_seq=4)] == [3, 4]
    since, until = events[3].time_unix_nano, events[6].time_unix_nano
    assert [event.seq for event in read(folder, since=since, until=until)] == [4, 5, 6]
    day = datetime.fromtimestamp(since // 10**9 + 86_400, UTC)
    assert not list(read(folder, since=day))
    assert len(list(read(folder, until=day))) == len(events)


def test_a_moment_without_a_time_zone_is_refused(record_run):
    with pytest.raises(ValueError, match="has no time zone"):
        read(record_run(), since=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake


def test_a_run_of_several_segments_and_ranks_reads_as_one(tmp_path):
    options = RecordOptions(segment_bytes=6_000, frame_bytes=1_000, compact=False)
    runs = [
        esper_telemetry.start_run(tmp_path, name="ranks", run_id="ranks", rank=rank, record=options)
        for rank in range(2)
    ]
    for number in range(3_000):
        runs[number % 2].emit(
            training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5, step=number
        )
        if number % 100 == 0:
            runs[number % 2].flush()
    for run in runs:
        run.close()
    folder = tmp_path / "ranks"
    assert len(list(folder.iterdir())) > 3, "the run was to have several segments"
    events = list(read(folder, types="scalar.logged"))
    assert [event.time_unix_nano for event in events] == sorted(event.time_unix_nano for event in events)
    assert [event.data["step"] for event in events] == list(range(3_000))
    for rank in range(2):
        numbers = [event.seq for event in read(folder, ranks=[rank])]
        assert numbers == list(range(1, 1_503))
        assert {event.rank for event in read(folder, ranks=[rank])} == {rank}
    assert {(event.run_id, event.stream) for event in events} == {("ranks", "main")}


def test_a_merged_file_reads_like_the_folder_it_was_made_of(tmp_path):
    options = RecordOptions(segment_bytes=6_000, frame_bytes=1_000, compact=False)
    runs = [esper_telemetry.start_run(tmp_path, name="m", run_id="m", rank=rank, record=options) for rank in range(2)]
    for number in range(2_000):
        runs[number % 2].emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
        if number % 100 == 0:
            runs[number % 2].flush()
    for run in runs:
        run.close()
    merge(sorted((tmp_path / "m").iterdir()), tmp_path / "merged.esr.zst")
    whole, merged = (
        [(e.rank, e.seq, e.data) for e in read(path)] for path in (tmp_path / "m", tmp_path / "merged.esr.zst")
    )
    assert merged == whole
    assert len(merged) == 2_004


def test_numbers_that_a_filter_left_out_are_not_missing(record_run, tmp_path):
    (file,) = record_run().iterdir()
    filter_record(file, tmp_path / "some.esr.zst", lambda _: Selection(env_ids=frozenset([0])))
    records = read(tmp_path / "some.esr.zst")
    assert [event.seq for event in records] == [2, 3]
    assert (records.missing, list(records.warnings)) == (0, [])


def test_a_lost_segment_is_told(tmp_path):
    with esper_telemetry.start_run(
        tmp_path, name="cut", run_id="cut", record=RecordOptions(segment_bytes=6_000, frame_bytes=1_000, compact=False)
    ) as run:
        for number in range(3_000):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
            if number % 100 == 0:
                run.flush()
    segments = sorted((tmp_path / "cut").iterdir())
    assert len(segments) >= 3
    segments[1].unlink()
    records = read(tmp_path / "cut")
    numbers = [event.seq for event in records]
    lost = set(range(1, 3_003)) - set(numbers)
    assert records.missing == len(lost)
    assert f"numbers {min(lost):,} to {max(lost):,} are missing" in records.warnings[0]


def test_a_copy_of_a_file_is_given_once(record_run, tmp_path):
    folder = record_run()
    (original,) = folder.iterdir()
    shutil.copy(original, folder / "copy.esr.zst")
    records = read(folder)
    assert [event.seq for event in records] == list(range(1, 11))
    (warning,) = records.warnings
    assert "is a copy of" in warning


def test_a_cut_file_gives_its_whole_frames_and_says_so(write_record, scalars):
    path = write_record(scalars(10), scalars(10), close=False)
    path.write_bytes(path.read_bytes()[:-5])
    records = read(path)
    assert [event.seq for event in records] == list(range(1, 11))
    assert records.warnings == [
        f"{path}: file ends inside frame 2 at byte {path.stat().st_size:,}; 10 events before it are intact"
    ]


def test_damage_is_raised_or_passed_over_and_noted(write_record, scalars):
    path = write_record(scalars(10), scalars(10), scalars(10))
    data = bytearray(path.read_bytes())
    with RecordReader(path) as reader:
        second = list(reader.frames())[1].offset + 30
    data[second] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CorruptRecordError, match="run esper-telemetry recover"):
        list(read(path))
    records = read(path, strict=False)
    assert [event.seq for event in records] == [*range(1, 11), *range(21, 31)]
    assert [(damage.first_seq, damage.last_seq) for _, damage in records.damage] == [(11, 20)]


def test_dropped_events_are_counted(write_record, scalars):
    records = read(write_record(scalars(10), scalars(10), shed=3))
    assert len(list(records)) == 20
    assert records.missing == 6
    assert "6 sequence numbers have no event" in records.warnings[0]


def test_something_else_is_refused_when_it_is_opened(tmp_path):
    (tmp_path / "text.esr.zst").write_text("hello")
    with pytest.raises(NotARecordError, match="not a record file"):
        read(tmp_path / "text.esr.zst")


def test_events_are_read_without_the_generated_code_of_their_types(record_run):
    code = f"""
        import sys
        sys.modules["esper"] = None
        import esper_telemetry
        print([event.data["slot_id"] for event in esper_telemetry.read({str(record_run())!r}, types="seed.*")])
    """
    finished = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "['mid', 'mid']"
