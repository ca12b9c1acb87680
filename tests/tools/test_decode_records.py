"""The one-file decoder, run as strangers run it, on records written by the recorder."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest
import zstandard

import esper_telemetry
from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry import RecordOptions, read
from esper_telemetry.decode import json_line, stream_keys
from esper_telemetry.recordfile import RecordReader, Selection, filter_record, merge
from esper_telemetry.v1 import steps_pb2, training_pb2

TOOL = Path(__file__).parents[2] / "tools" / "decode_records.py"


def decode(*arguments: object, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def emit_some(run) -> None:
    seat = run.bind(env_id=0, device="cuda:0", inner_epoch=1, global_epoch=3)
    seat.emit(seed_pb2.SeedCulled, slot_id="späte \U0001f331", from_stage="SEED_STAGE_TRAINING", alpha=0.0)
    seat.emit(training_pb2.EpochCompleted, train_loss=float("nan"), val_loss=float("inf"))
    run.bind(batch_idx=1, episodes_completed=2).emit(
        training_pb2.ActionDistribution, action_counts={"wait": 7, "cull": 0}, head="op"
    )
    run.bind(batch_idx=1, episodes_completed=2, device="cpu").emit(
        steps_pb2.StepBlock(
            row_type="esper.v1.ActionTaken",
            steps=2,
            envs=2,
            env_ids=[4, 7],
            context=[{"field": "inner_epoch", "values": [1, 2]}],
            env_context=[{"field": "episode", "values": [10, 11]}],
            first_time_unix_nano=1_700_000_000_000_000_000,
            time_offsets_us=[0, 250],
            columns=[
                {"field": "reward", "doubles": struct.pack("<4d", 0.5, float("nan"), 0.0, -1.0)},
                {"field": "op", "indices": bytes([0, 1, 9, 0]), "labels": ["wait", "cull"], "numbers": [1, 3]},
                {"field": "slot_id", "indices": bytes([0, 1, 2, 0]), "labels": ["early", "mid", ""]},
                {"field": "op_masked", "flags": bytes([0b0110])},
            ],
        )
    )
    run.bind(step=5).emit(training_pb2.ScalarLogged, name="loss", value=0.1, step=1)


@pytest.fixture
def folder(tmp_path) -> Path:
    with esper_telemetry.start_run(tmp_path, name="run", run_id="run", schemas=(seed_pb2, trainer_pb2)) as run:
        emit_some(run)
    return run.folder


@pytest.fixture
def file(folder) -> Path:
    (found,) = folder.iterdir()
    return found


@pytest.fixture
def long_file(tmp_path) -> Path:
    with esper_telemetry.start_run(tmp_path, name="long", run_id="long") as run:
        for number in range(300):
            run.emit(training_pb2.ScalarLogged, name="n", value=number**0.5, step=number)
            if number % 100 == 99:
                run.flush()
    (found,) = run.folder.iterdir()
    return found


def test_its_lines_are_those_of_the_library_byte_for_byte(folder):
    finished = decode(folder)
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr
    assert finished.stdout.decode().splitlines(keepends=False) != []
    assert finished.stdout == "".join(f"{json_line(event)}\n" for event in read(folder)).encode()


def test_it_needs_protobuf_and_zstandard_and_nothing_of_ours(file):
    code = f"""
        import runpy, sys
        sys.modules["esper_telemetry"] = sys.modules["esper"] = None
        sys.argv = ["decode_records.py", {str(file)!r}]
        runpy.run_path({str(TOOL)!r}, run_name="__main__")
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=False, cwd=file.parent
    )
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.splitlines()) == 10


def test_values_are_shown_as_people_read_them(file):
    lines = [json.loads(line) for line in decode(file).stdout.splitlines()]
    data = {line["type"]: line["data"] for line in lines}
    assert data["seed.culled"]["from_stage"] == "TRAINING"
    assert data["epoch.completed"] == {
        "train_loss": "NaN", "val_loss": "Infinity",
        "env_id": 0, "device": "cuda:0", "inner_epoch": 1, "global_epoch": 3,
    }  # fmt: skip
    assert data["policy.action_distribution"]["action_counts"] == {"cull": 0, "wait": 7}
    assert data["scalar.logged"]["step"] == 1, "the payload's names win over the context's"


def test_types_are_chosen_by_name_or_pattern(file):
    for want in ("policy.action_taken", "esper.v1.ActionTaken", "policy.action_t*"):
        lines = [json.loads(line) for line in decode("--type", want, file).stdout.splitlines()]
        assert [line["data"]["env_id"] for line in lines] == [4, 7, 4, 7]


def test_standard_input_and_concatenations_read_alike(file):
    once = decode(file).stdout
    assert decode("-", stdin=file.read_bytes()).stdout == once
    assert decode("-", stdin=file.read_bytes() * 2).stdout == once * 2
    assert decode("-", file, stdin=file.read_bytes()).stdout.count(b"\n") == 2 * once.count(b"\n")


def test_ranks_and_segments_merge_as_in_the_library(tmp_path):
    options = RecordOptions(segment_bytes=15_000, frame_bytes=2_000)
    runs = [
        esper_telemetry.start_run(tmp_path, name="ranks", run_id="ranks", rank=rank, record=options)
        for rank in (0, 1, 10)
    ]
    for number in range(4_500):
        runs[number % 3].emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
        if number % 100 == 0:
            runs[number % 3].flush()
    for run in runs:
        run.close()
    assert len(list((tmp_path / "ranks").iterdir())) > 3
    records = read(tmp_path / "ranks")
    keys = stream_keys(records.segments)
    expected = "".join(f"{json_line(event, keys=keys)}\n" for event in records)
    assert keys.rank
    assert decode(tmp_path / "ranks").stdout.decode() == expected
    shuffled = sorted((tmp_path / "ranks").iterdir(), reverse=True)
    assert decode(*shuffled).stdout.decode() == expected


def test_merged_and_filtered_records_read_as_in_the_library(tmp_path):
    for rank in (0, 1):
        with esper_telemetry.start_run(tmp_path, name="m", run_id="m", rank=rank) as run:
            for number in range(50):
                run.emit(training_pb2.ScalarLogged, name="n", value=float(number))
                if number == 25:
                    run.flush()
    merge(sorted((tmp_path / "m").iterdir()), tmp_path / "merged.esr.zst")
    assert decode(tmp_path / "merged.esr.zst").stdout == decode(tmp_path / "m").stdout
    filter_record(
        tmp_path / "merged.esr.zst", tmp_path / "some.esr.zst", lambda _: Selection(first_seq=20, last_seq=30)
    )
    finished = decode(tmp_path / "some.esr.zst")
    records = read(tmp_path / "some.esr.zst")
    keys = stream_keys(records.segments)
    assert finished.stdout.decode() == "".join(f"{json_line(event, keys=keys)}\n" for event in records)
    assert (finished.returncode, finished.stderr) == (0, b""), "what was left out on purpose is not missing"


def test_a_copy_is_passed_over_and_told(file, tmp_path):
    copy = tmp_path / "copy.esr.zst"
    copy.write_bytes(file.read_bytes())
    finished = decode(file, copy)
    assert finished.returncode == 3
    assert b"is a copy of" in finished.stderr
    assert finished.stdout == decode(file).stdout


def test_a_cut_end_warns_in_the_one_wording_and_exits_3(long_file):
    whole = long_file.read_bytes()
    frames = [frame.offset for frame in RecordReader(bytes(whole)).frames()]
    cut = frames[2] + 30
    long_file.write_bytes(whole[:cut])
    finished = decode(long_file)
    assert finished.returncode == 3
    records = read(long_file)
    assert len(finished.stdout.splitlines()) == len(list(records)) > 0
    assert finished.stderr.decode() == f"warning: {records.warnings[0]}\n"
    assert f"file ends inside frame 3 at byte {cut:,}; " in finished.stderr.decode()


def test_a_flipped_bit_exits_1_with_the_place_and_keeps_what_came_before(long_file):
    whole = bytearray(long_file.read_bytes())
    frames = [frame.offset for frame in RecordReader(bytes(whole)).frames()]
    whole[frames[2] + 40] ^= 1
    long_file.write_bytes(whole)
    finished = decode(long_file)
    assert finished.returncode == 1
    assert f"at byte {frames[2]:,}:".encode() in finished.stderr
    assert 0 < len(finished.stdout.splitlines()) < 302


def test_every_structure_is_checked_by_its_checksum(long_file):
    whole = long_file.read_bytes()
    for tag in (b"EFRM", b"EIDX"):
        damaged = bytearray(whole)
        damaged[whole.index(tag) + 12] ^= 1
        long_file.write_bytes(damaged)
        finished = decode(long_file)
        assert finished.returncode == 1
        assert f"the checksum of {tag.decode()} is wrong".encode() in finished.stderr


@pytest.mark.parametrize("gone", [1, 2])
def test_frames_that_vanished_before_the_footer_exit_3(long_file, gone):
    whole = long_file.read_bytes()
    with RecordReader(long_file) as reader:
        frames = list(reader.frames())
    long_file.write_bytes(whole[: frames[-gone].offset] + whole[frames[-1].end :])
    finished = decode(long_file)
    assert finished.returncode == 3
    assert b"the seek table does not list the frames before it" in finished.stderr
    assert len(finished.stdout.splitlines()) == sum(frame.records for frame in frames[:-gone])
    records = read(long_file, strict=False)
    list(records)
    assert records.warnings, "as the library says too"


def test_a_seek_table_in_the_middle_of_a_concatenation_is_compared_with_its_own_segment(long_file, file):
    frames = list(RecordReader(long_file).frames())
    whole = long_file.read_bytes()
    one = whole[: frames[-1].offset] + whole[frames[-1].end :]
    assert decode("-", stdin=file.read_bytes() + whole).returncode == 0
    assert decode("-", stdin=one + file.read_bytes()).returncode == 3
    long_file.write_bytes(file.read_bytes() + one)
    assert decode(long_file).returncode == 3


def test_dropped_events_exit_3(file):
    whole = bytearray(file.read_bytes())
    at = whole.rindex(b"EFRM") - 8  # the last frame is said to cover five numbers more
    fields = list(struct.unpack_from("<4sI4sIIIIQQQQ", whole, at))
    fields[8] += 5
    packed = struct.pack("<4sI4sIIIIQQQQ", *fields)
    whole[at : at + 64] = packed + struct.pack("<I", zlib.crc32(packed))
    file.write_bytes(whole)
    finished = decode(file)
    assert finished.returncode == 3
    assert b"5 sequence numbers have no event" in finished.stderr


def test_a_bomb_is_refused_before_it_is_inflated(file):
    whole = file.read_bytes()
    bomb = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(64 << 20))
    desc = struct.pack("<4sI4sIIIIQQQQ", b"\x57\x2a\x4d\x18", 56, b"EFRM", len(bomb), 64 << 20, 9, 1, 1, 9, 1, 1)
    end_of_header = whole.index(b"EFRM") + 56
    forged = whole[:end_of_header] + bomb + desc + struct.pack("<I", zlib.crc32(desc))
    finished = decode("-", stdin=forged)
    assert finished.returncode == 1
    assert b"over a limit of the format" in finished.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", b"holds no header"),
        (b"hello, this is text", b"no frame starts with"),
        (zstandard.compress(b"x" * 100), b"does not start with a prologue"),
        (b"\x57\x2a\x4d\x18\x10\0\0\0ESPERREC\x02\0\0\0\0\0\0\0", b"the format is version 2"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, content, reason):
    (tmp_path / "x").write_bytes(content)
    finished = decode(tmp_path / "x")
    assert finished.returncode == 1
    assert reason in finished.stderr
    assert not finished.stdout


def test_a_wrong_call_exits_2(tmp_path):
    assert decode().returncode == 2
    assert decode(tmp_path).returncode == 2, "a folder without records"
    assert decode(tmp_path / "nothing").returncode == 1


def test_a_reader_that_has_had_enough_is_no_error(long_file):
    with subprocess.Popen(
        [sys.executable, str(TOOL), str(long_file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as p:
        assert p.stdout.readline()
        p.stdout.close()
        assert p.stderr.read() == b""
        assert p.wait() == 0


def test_a_bad_file_in_a_folder_is_passed_over_and_named(tmp_path):
    with esper_telemetry.start_run(tmp_path, name="x", run_id="x") as run:
        run.emit(training_pb2.ScalarLogged, name="n", value=1.0)
    (run.folder / "empty.esr.zst").touch()
    (run.folder / "notes.esr.zst").write_text("no record")
    (run.folder / "folder.esr.zst").mkdir()
    os.mkfifo(run.folder / "pipe.esr.zst")
    done = subprocess.run([sys.executable, TOOL, run.folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3
    assert done.stdout.count("\n") == 3
    assert "empty.esr.zst: passed over" in done.stderr
    assert "notes.esr.zst: passed over" in done.stderr
    alone = [sys.executable, TOOL, run.folder / "notes.esr.zst"]
    assert subprocess.run(alone, capture_output=True, check=False).returncode == 1
