"""`verify`: a check for scripts, with the place of everything that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import esper_telemetry
from esper_telemetry import RecordOptions
from esper_telemetry.v1 import training_pb2


@pytest.fixture
def damaged(write_record, scalars):
    path = write_record(scalars(5), scalars(5), scalars(5))
    data = bytearray(path.read_bytes())
    place = [at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"][3]
    data[place + 20] ^= 0xFF
    path.write_bytes(data)
    return path, place


def test_a_good_record_exits_0(cli, record_run):
    finished = cli("verify", record_run())
    assert finished.code == 0
    assert finished.out.startswith("good  ")
    assert "  10 events in " in finished.out
    assert finished.out.endswith(", closed\n")
    assert not finished.err


def test_damage_exits_4_with_its_place_and_its_cost(cli, damaged):
    path, place = damaged
    finished = cli("verify", path)
    assert finished.code == 4
    assert f"at byte {place:,}: " in finished.out
    assert "numbers 6 to 10 are lost" in finished.out


def test_json_is_one_document_for_each_file(cli, damaged, record_run):
    path, place = damaged
    documents = json.loads(cli("verify", "--json", path, record_run()).out)
    assert [document["good"] for document in documents] == [False, True]
    problem = documents[0]["problems"][0]
    assert (problem["offset"], problem["first_seq"], problem["last_seq"]) == (place, 6, 10)


def test_a_record_without_its_footer_is_good_as_far_as_it_goes(cli, write_record, scalars):
    finished = cli("verify", write_record(scalars(5), close=False))
    assert finished.code == 3  # its writer is gone
    assert "good" in finished.out
    assert "not closed" in finished.out
    assert "its writer was killed, or is still writing" in finished.err


def test_a_cut_end_is_a_problem(cli, write_record, scalars):
    path = write_record(scalars(5), scalars(5), close=False)
    path.write_bytes(path.read_bytes()[:-5])
    finished = cli("verify", path)
    assert finished.code == 4
    assert "file ends inside frame 2" in finished.out


def test_something_else_is_a_failure_not_a_problem(cli, tmp_path):
    (tmp_path / "x.esr.zst").write_text("hello")
    finished = cli("verify", tmp_path / "x.esr.zst")
    assert finished.code == 1
    assert "not a record file: it looks like text" in finished.err


def test_numbers_without_an_event_are_a_problem_with_a_cause_or_without(cli, write_record, scalars):
    finished = cli("verify", write_record(scalars(5), scalars(5), shed=2))
    assert finished.code == 4
    assert "4 sequence numbers have no event: 4 without a cause" in finished.out


def test_a_lost_segment_is_a_problem_of_the_run_and_not_of_a_file(cli, tmp_path):
    options = RecordOptions(segment_bytes=12_000, frame_bytes=2_000)
    with esper_telemetry.start_run(tmp_path, name="v", run_id="v", record=options) as run:
        for number in range(2_000):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5)
            if number % 100 == 0:
                run.flush()
    assert cli("verify", run.folder).code == 0
    first, second, *_ = sorted(run.folder.iterdir())
    second.unlink()
    assert cli("verify", first).code == 0
    finished = cli("verify", run.folder)
    assert finished.code == 4
    assert "are missing: the segment before lost them, or is not here" in finished.out


def test_a_value_out_of_its_range_is_a_problem_named_by_event_and_field(cli, record_run):
    def fill(run):
        for batch in range(200):
            batches = run.bind(batch_idx=batch, episodes_completed=0)
            batches.emit(training_pb2.PpoUpdateCompleted, clip_fraction=1.7, entropy=0.1)

    folder = record_run(fill)
    finished = cli("verify", folder)
    assert finished.code == 4
    assert "ppo.update_completed clip_fraction = 1.7 is out of its range, 0 to 1: event 2 of rank 0, and 199" in (
        finished.out
    )
    assert finished.out.count("\n") == 2, "one line for each field, however many events"
    (document,) = json.loads(cli("verify", "--json", folder).out)
    assert not document["good"]
    assert len(document["content"]) == 1


def test_a_killed_run_is_good_as_far_as_it_goes_and_its_end_unknown(cli, write_record, scalars):
    finished = cli("verify", write_record(scalars(5), close=False))
    assert finished.code == 3
    assert "what came after sequence number 5 is unknown" in finished.err


WRITER = """
import sys, time
import esper_telemetry
from esper_telemetry import events
run = esper_telemetry.start_run(sys.argv[1], name="writer", run_id="writer")
for number in range(50):
    run.emit(events.ScalarLogged, name="n", value=float(number))
run.flush()
print("written", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("verb", ["info", "cat", "verify"])
def test_a_writer_that_is_gone_without_an_end_is_told_from_one_that_lives(cli, tmp_path, verb):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "written\n"
        alive = cli(verb, tmp_path / "writer")
        writer.kill()
    assert alive.code == 0, alive.err
    dead = cli(verb, tmp_path / "writer")
    assert dead.code == 3
    assert "no end: its writer is gone, and what came after sequence number 51 is unknown" in dead.err
