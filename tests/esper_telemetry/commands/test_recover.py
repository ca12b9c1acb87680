"""`recover`: a new record of what is whole, that verifies."""

from __future__ import annotations

import json


def lines_of(cli, path):
    return [json.loads(line)["seq"] for line in cli("cat", "--json", path).lines]


def test_a_good_record_loses_nothing(cli, record_run, tmp_path):
    (file,) = record_run().iterdir()
    finished = cli("recover", file, "-o", tmp_path / "new.esr.zst")
    assert finished.code == 0
    assert cli("cat", "--json", tmp_path / "new.esr.zst").out == cli("cat", "--json", file).out


def test_damage_costs_its_frame_and_exits_3_and_the_rest_verifies(cli, write_record, scalars, tmp_path):
    path = write_record(scalars(5), scalars(5), scalars(5))
    data = bytearray(path.read_bytes())
    place = [at for at in range(len(data)) if data[at : at + 4] == b"\x28\xb5\x2f\xfd"][3]
    data[place + 20] ^= 0xFF
    path.write_bytes(data)
    new = tmp_path / "new.esr.zst"
    finished = cli("recover", path, "-o", new)
    assert finished.code == 3
    assert "numbers 6 to 10 are lost" in finished.err
    assert "10 events in 2 frames" in finished.out
    assert cli("verify", new).code == 0
    assert lines_of(cli, new) == [*range(1, 6), *range(11, 16)]
    assert path.read_bytes() == bytes(data), "the damaged record is never touched"


def test_a_cut_record_gives_every_whole_frame(cli, write_record, scalars, tmp_path):
    path = write_record(scalars(50), scalars(50), close=False)
    path.write_bytes(path.read_bytes()[:-70])
    finished = cli("recover", "--json", path, "-o", tmp_path / "new.esr.zst")
    assert finished.code == 3
    (document,) = json.loads(finished.out)
    assert not document["complete"]
    assert lines_of(cli, tmp_path / "new.esr.zst")[:50] == list(range(1, 51))


def test_a_run_folder_becomes_a_new_folder(cli, record_run, tmp_path):
    folder = record_run()
    (folder / "broken.esr.zst").write_bytes(b"not a record")
    finished = cli("recover", folder, "-o", tmp_path / "new")
    assert finished.code == 3
    assert "broken.esr.zst" in finished.err
    assert len(lines_of(cli, tmp_path / "new")) == 10


def test_nothing_to_recover_exits_1_and_an_output_that_exists_is_kept(cli, record_run, tmp_path):
    (tmp_path / "x.esr.zst").write_bytes(b"nothing of a record")
    assert cli("recover", tmp_path / "x.esr.zst", "-o", tmp_path / "new.esr.zst").code == 1
    assert not (tmp_path / "new.esr.zst").exists()
    finished = cli("recover", record_run(), "-o", tmp_path)
    assert finished.code == 1
    assert "choose another --output" in finished.err
    assert cli("recover", tmp_path).code == 2, "an output must be named"
