"""`merge`: ranks and segments as one file that reads like the folder."""

from __future__ import annotations

import json

import pytest

import esper_telemetry
from esper_telemetry.v1 import training_pb2


@pytest.fixture
def ranks(tmp_path):
    runs = [esper_telemetry.start_run(tmp_path, name="r", run_id="r", rank=rank) for rank in range(2)]
    for number in range(20):
        runs[number % 2].emit(training_pb2.ScalarLogged, name="n", value=float(number))
    for run in runs:
        run.close()
    return tmp_path / "r"


def test_the_merged_file_reads_like_the_folder(cli, ranks, tmp_path):
    finished = cli("merge", ranks, "-o", tmp_path / "one.esr.zst")
    assert finished.code == 0
    assert "24 events in " in finished.out
    assert cli("cat", "--json", tmp_path / "one.esr.zst").out == cli("cat", "--json", ranks).out
    assert cli("verify", tmp_path / "one.esr.zst").code == 0


def test_files_of_two_runs_need_force(cli, ranks, record_run, tmp_path):
    other = record_run()
    finished = cli("merge", ranks, other, "-o", tmp_path / "one.esr.zst")
    assert finished.code == 1
    assert "--force" in finished.err
    finished = cli("merge", "--force", "--json", ranks, other, "-o", tmp_path / "one.esr.zst")
    assert finished.code == 0
    document = json.loads(finished.out)
    assert document["runs"] == sorted(["r", other.name])
    assert document["events"] == 34


def test_an_input_without_a_header_is_named(cli, ranks, tmp_path):
    (first, second) = sorted(ranks.iterdir())
    first.write_bytes(first.read_bytes()[:500])
    finished = cli("merge", first, second, "-o", tmp_path / "one.esr.zst")
    assert finished.code == 3
    assert f"{first}: bytes 0 to 500 cannot be read: no header can be read" in finished.err
    assert cli("verify", tmp_path / "one.esr.zst").code == 0
    finished = cli("merge", first, "-o", tmp_path / "two.esr.zst")
    assert finished.code == 1
    assert f"{first}: no header can be read, so nothing can be joined" in finished.err
    assert not (tmp_path / "two.esr.zst").exists()


def test_a_damaged_input_is_recovered_on_the_way_and_exits_3(cli, write_record, scalars, tmp_path):
    good = write_record(scalars(5), path=tmp_path / "1.esr.zst")
    cut = write_record(scalars(5), scalars(50), path=tmp_path / "2.esr.zst", first_seq=6, segment=2, close=False)
    cut.write_bytes(cut.read_bytes()[:-200])
    finished = cli("merge", good, cut, "-o", tmp_path / "one.esr.zst")
    assert finished.code == 3
    assert finished.err.startswith("warning: ")
    assert cli("verify", tmp_path / "one.esr.zst").code == 0
