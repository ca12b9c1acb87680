"""`verify`: a check for scripts, with the place of everything that is wrong."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def damaged(write_record, scalars):
    path = write_record(scalars(5), scalars(5), scalars(5))
    data = bytearray(path.read_bytes())
    place = [at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"][2]
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
    assert finished.code == 0
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
