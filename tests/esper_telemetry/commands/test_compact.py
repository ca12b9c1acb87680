"""`compact`: the same record in fewer bytes, under the same name."""

from __future__ import annotations

import json
import os

import pytest

import esper_telemetry
from esper_telemetry.recordfile.lock import lock_exclusive
from esper_telemetry.v1 import training_pb2


@pytest.fixture
def slow(tmp_path):
    """A run of many small frames, as a slow one leaves them."""

    def record(name: str = "slow"):
        options = esper_telemetry.RecordOptions(compact=False)
        with esper_telemetry.start_run(tmp_path / "runs", name=name, run_id=name, record=options) as run:
            for number in range(60):
                run.emit(training_pb2.ScalarLogged, name="n", value=float(number), step=number)
                run.flush()
        return run.folder

    return record


def sizes(folder) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.esr.zst"))


def test_a_run_reads_the_same_in_fewer_bytes(cli, slow):
    folder = slow()
    printed, before = cli("cat", "--json", folder).out, sizes(folder)
    finished = cli("compact", folder)
    assert finished.code == 0
    assert "→ 1 frame" in finished.out
    assert "in 1 file of 1" in finished.err
    assert sizes(folder) < before * 2 / 3
    assert cli("cat", "--json", folder).out == printed
    assert cli("verify", folder).code == 0
    again = cli("compact", folder)
    assert (again.code, again.out) == (0, "")
    assert "stays as it is" in again.err


def test_a_dry_run_changes_nothing_and_tells_the_same(cli, slow):
    folder = slow()
    before = sizes(folder)
    told = json.loads(cli("compact", "--dry-run", "--json", folder).out)
    assert sizes(folder) == before
    done = json.loads(cli("compact", "--json", folder).out)
    assert told == done
    assert done[0]["rewritten"]
    assert (done[0]["bytes_before"], done[0]["bytes_after"]) == (before, sizes(folder))


def test_a_folder_of_runs_is_each_of_them(cli, slow):
    folders = [slow("one"), slow("two")]
    finished = cli("compact", folders[0].parent)
    assert finished.code == 0
    assert len(finished.lines) == 2


def test_what_is_damaged_stays_and_the_others_do_not(cli, slow):
    bad, good = slow("bad"), slow("good")
    (path,) = bad.glob("*.esr.zst")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    finished = cli("compact", bad, good)
    assert finished.code == 3
    assert "stays as it is" in finished.err
    assert path.read_bytes() == content
    assert len(finished.lines) == 1
    assert cli("compact", path).code == 1


def test_what_is_being_written_sent_or_kept_by_a_collector_is_left_alone(cli, slow, tmp_path):
    open_run = esper_telemetry.start_run(tmp_path / "runs", name="open", run_id="open")
    assert "not closed" in cli("compact", open_run.folder).err
    open_run.close()
    sent = slow("sent")
    before = sizes(sent)
    with (sent / "agent.log").open("wb") as log:
        lock_exclusive(log.fileno())
        assert "an agent is sending it" in cli("compact", sent).err
    with (sent.parent / ".collector.lock").open("wb") as lock:
        lock_exclusive(lock.fileno())
        assert "a running collector's" in cli("compact", sent).err
    assert sizes(sent) == before


def test_standard_input_has_no_place(cli):
    assert cli("compact", "-").code == 2


def test_a_file_that_cannot_be_written_is_a_failure(cli_of_anybody, slow):
    folder = slow()
    before = sizes(folder)
    folder.chmod(0o500)
    finished = cli_of_anybody("compact", folder)
    folder.chmod(0o700)
    assert finished.code == 1
    assert "Permission denied" in finished.err
    assert sizes(folder) == before
    assert cli_of_anybody("compact", folder).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_owner_stays(cli, slow):
    (file,) = slow().glob("*.esr.zst")
    os.chown(file, 65_534, 65_533)
    file.chmod(0o640)
    assert cli("compact", file).code == 0
    found = file.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65_534, 65_533, 0o640)


def test_a_link_to_itself_is_named(cli, tmp_path):
    loop = tmp_path / "loop.esr.zst"
    loop.symlink_to(loop)
    finished = cli("compact", loop)
    assert finished.code == 1
    assert f"{loop}: stays as it is: it cannot be read" in finished.err
