"""`filter`: a smaller record of what is wanted."""

from __future__ import annotations

import json

import esper_telemetry
from esper_telemetry.v1 import steps_pb2, training_pb2


def lines_of(cli, path):
    return [(json.loads(line)["type"], json.loads(line)["seq"]) for line in cli("cat", "--json", path).lines]


def test_what_is_wanted_is_written_under_its_old_numbers(cli, record_run, tmp_path):
    (file,) = record_run().iterdir()
    new = tmp_path / "new.esr.zst"
    finished = cli("filter", file, "-o", new, "--type", "seed.*", "--type", "run.*")
    assert finished.code == 0
    assert "  4 events of 10" in finished.out
    assert lines_of(cli, new) == [("run.started", 1), ("seed.germinated", 2), ("seed.culled", 3), ("run.finished", 10)]
    assert cli("verify", new).code == 0
    assert cli("cat", new).code == 0, "what was left out on purpose is not missing"
    assert new.stat().st_size < file.stat().st_size


def test_every_choice_holds(cli, record_run, tmp_path):
    (file,) = record_run().iterdir()
    for number, (options, expected) in enumerate(
        [(("--env", 1), [4, 5]), (("--seq", "3:4"), [3, 4]), (("--rank", 3), []), (("--until", "2020-01-01"), [])]
    ):
        new = tmp_path / f"{number}.esr.zst"
        assert cli("filter", file, "-o", new, *options).code == 0
        kept = [seq for _, seq in lines_of(cli, new)] if new.exists() else []
        assert kept == expected, options


def test_a_folder_becomes_a_folder(cli, record_run, tmp_path):
    finished = cli("filter", "--json", record_run(), "-o", tmp_path / "new", "--env", 0)
    (document,) = json.loads(finished.out)
    assert (document["events"], document["dropped"]) == (2, 8)
    assert [seq for _, seq in lines_of(cli, tmp_path / "new")] == [2, 3]


def test_blocks_are_kept_for_the_type_of_their_rows_and_told_of_when_left_out(cli, record_run, tmp_path):
    def fill(run):
        columns = [{"field": "op_masked", "flags": b"\x01"}]
        block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=1, envs=2, columns=columns)
        run.bind(batch_idx=1).emit(block)

    folder = record_run(fill)
    cli("filter", folder, "-o", tmp_path / "a", "--type", "policy.action_taken")
    assert lines_of(cli, tmp_path / "a") == [("policy.action_taken", 2)] * 2
    finished = cli("filter", folder, "-o", tmp_path / "b", "--env", 0)
    assert "blocks of steps hold several environments" in finished.err


def test_damage_is_told_and_exits_3(cli, write_record, scalars, tmp_path):
    path = write_record(scalars(5), scalars(5), scalars(5))
    data = bytearray(path.read_bytes())
    place = [at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"][3]
    data[place + 20] ^= 0xFF
    path.write_bytes(data)
    finished = cli("filter", path, "-o", tmp_path / "new.esr.zst")
    assert finished.code == 3
    assert "numbers 6 to 10 are lost" in finished.err


def test_a_rank_of_a_folder_reads_as_a_folder(cli, tmp_path):
    for rank in range(3):
        with esper_telemetry.start_run(tmp_path, name="r", run_id="r", rank=rank) as run:
            run.emit(training_pb2.ScalarLogged, name="n", value=rank)
    finished = cli("filter", tmp_path / "r", "-o", tmp_path / "one", "--rank", 1, "--type", "scalar.*")
    assert finished.code == 0
    assert finished.err.count("was not written") == 2
    assert [json.loads(line)["data"]["value"] for line in cli("cat", "--json", tmp_path / "one").lines] == [1.0]


def test_what_is_cut_off_or_damaged_exits_3_and_is_told_once(cli, write_record, scalars, tmp_path):
    path = write_record(scalars(5), scalars(5), scalars(5), close=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    finished = cli("filter", path, "-o", tmp_path / "cut.esr.zst")
    assert finished.code == 3
    assert "file ends inside frame 3" in finished.err
    data = bytearray(whole)
    data[[at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"][2] + 20] ^= 0xFF
    path.write_bytes(data)
    finished = cli("filter", "--json", path, "-o", tmp_path / "damaged.esr.zst")
    assert finished.code == 3
    assert finished.err.count("cannot be read") == 1
    (document,) = json.loads(finished.out)
    assert (document["events"], document["complete"], document["truncation"]) == (10, False, None)


def test_a_folder_of_which_nothing_can_be_read_is_a_failure(cli, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "one.esr.zst").write_bytes(b"no record")
    finished = cli("filter", folder, "-o", tmp_path / "out")
    assert finished.code == 1
    assert "not a record file" in finished.err
