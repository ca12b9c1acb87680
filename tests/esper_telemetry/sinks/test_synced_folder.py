"""Names of files and folders are made durable: which folders are synced, and when."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.sinks.synced_folder import SyncedFolder

# Every fsync of a program with the path of what it forces to the disk, as the kernel names the descriptor.
WATCH = """
import json, os, sys
seen = []
def watch(name):
    real = getattr(os, name)
    def call(fd):
        seen.append(os.readlink(f"/proc/self/fd/{fd}"))
        return real(fd)
    setattr(os, name, call)
watch("fsync"), watch("fdatasync")
import esper_telemetry as et
"""


def watched(code: str, *arguments: object) -> list:
    """Run a program whose syncs are watched; return what it prints as JSON."""
    command = [sys.executable, "-c", WATCH + textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_started_run_is_there_after_a_power_cut(tmp_path):
    seen = watched(
        """
        options = et.RecordOptions(sync="none", compact=False)
        run = et.start_run(sys.argv[1] + "/deep/runs", name="x", run_id="x", record=options)
        print(json.dumps(seen))
        """,
        tmp_path,
    )
    names = [seen.index(str(folder)) for folder in (tmp_path, tmp_path / "deep", tmp_path / "deep/runs")]
    assert names == sorted(names), "from the top down"
    assert str(tmp_path / "deep/runs/x") in seen, "the name of the file"
    assert any(path.endswith(".esr.zst") for path in seen), "the file"


ROTATE = """
run = et.start_run(sys.argv[1], name="x", run_id="x",
                   record=et.RecordOptions(sync=sys.argv[2], segment_bytes=8_000, flush_interval=0.05, compact=False))
del seen[:]
for i in range(40):
    run.emit(et.events.ScalarLogged, name=os.urandom(300).hex())
    run.flush()
rotated = len(seen)
run.close()
print(json.dumps([[os.path.basename(path) for path in paths] for paths in (seen[:rotated], seen[rotated:])]))
"""


def test_at_the_end_of_each_segment_its_data_and_the_names_are_forced(tmp_path):
    rotations, close = watched(ROTATE, tmp_path, "close")
    data = [path for path in rotations if path.endswith(".esr.zst")]
    assert len(data) == len(set(data)) > 1, "each segment once, when it ended"
    assert rotations.count("x") == len(data), "and the folder with the name of the next one"
    assert close[0].endswith(".esr.zst")


@pytest.mark.parametrize("policy", ["interval", "every"])
def test_a_new_segment_is_named_durably_with_its_first_sync(tmp_path, policy):
    rotations, close = watched(ROTATE, tmp_path, policy)
    segments = dict.fromkeys(path for path in rotations + close if path.endswith(".esr.zst"))
    assert (rotations + close).count("x") >= len(segments) - 1 > 0


def test_nothing_is_forced_where_nothing_was_promised(tmp_path):
    assert watched(ROTATE, tmp_path, "none") == [[], []]


def test_a_folder_that_was_removed_is_made_and_synced_anew(tmp_path, mocker):
    folder = SyncedFolder(tmp_path / "runs" / "x")
    folder.make()
    folder.named()
    folder.sync()
    (tmp_path / "runs" / "x").rmdir()
    (tmp_path / "runs").rmdir()
    synced = []
    mocker.patch("os.fsync", side_effect=lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink()))
    folder.sync()
    assert synced == [], "nothing is new"
    folder.make()
    folder.named()
    folder.sync()
    assert synced == [tmp_path, tmp_path / "runs", tmp_path / "runs" / "x"]


def test_a_disk_that_fails_is_an_error_and_is_tried_again(tmp_path, mocker):
    folder = SyncedFolder(tmp_path / "x")
    folder.make()
    folder.named()
    broken = mocker.patch("os.fsync", side_effect=OSError(errno.EIO, "bad disk"))
    for _ in range(2):
        with pytest.raises(SinkError, match=r"cannot sync the names in it.*bad disk"):
            folder.sync()
    broken.side_effect = None
    broken.reset_mock()
    folder.sync()
    assert broken.call_count == 2, "the folder above and the folder"


def test_a_system_that_syncs_no_folders_is_left_alone(tmp_path, mocker):
    folder = SyncedFolder(tmp_path / "x")
    folder.make()
    refused = mocker.patch("os.fsync", side_effect=OSError(errno.EINVAL, "not here"))
    folder.sync()
    assert refused.call_count == 1, "the one above, which has the new name"
    folder.sync()
    assert refused.call_count == 1, "a name that cannot be synced here is not tried for ever"


def test_a_folder_that_cannot_be_made_says_where(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="file/x: cannot make the run folder"):
        SyncedFolder(tmp_path / "file" / "x").make()
