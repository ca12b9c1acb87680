"""Every verb over folders as people have them: bad files, copies, and more runs than may be open at once."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys

import pytest

import esper_telemetry
from esper_telemetry.recordfile import HeaderInfo, RecordWriter
from esper_telemetry.schema import event_type
from esper_telemetry.v1 import run_pb2, training_pb2
from tests.esper_telemetry.conftest import batch_of

READING = [["cat"], ["info"], ["stats"], ["schema"], ["verify"], ["tail"]]
WRITING = [["filter"], ["merge"], ["recover"]]


@pytest.fixture
def littered(record_run):
    """The folder of a good run with one of everything that may stand beside its file."""
    folder = record_run()
    (good,) = folder.iterdir()
    good.with_name(good.name.replace("000001", "000002")).write_bytes(b"")
    good.with_name(good.name.replace("000001", "000003")).write_bytes(bytes(4_096))
    (folder / f"._{good.name}").write_bytes(b"\0\5\x16\7 Mac OS X")
    (folder / f"{good.name}.part").write_bytes(good.read_bytes()[:9_000])
    (folder / ".nfs000000000001").touch()
    (folder / "notes.esr.zst").write_text("no record")
    (folder / "folder.esr.zst").mkdir()
    (folder / "gone.esr.zst").symlink_to("nothing")
    os.mkfifo(folder / "pipe.esr.zst")
    shutil.copy(good, folder / f"{good.name[:-8]} (conflicted copy).esr.zst")
    return folder


LITTER = ("000002", "000003", "._", ".part", ".nfs", "notes", "folder.esr", "gone.esr", "pipe.esr")


@pytest.mark.parametrize("verb", READING + WRITING, ids=" ".join)
@pytest.mark.parametrize("how", ["folder", "pattern"])
def test_no_file_of_a_folder_keeps_a_verb_from_the_others(cli, littered, tmp_path, verb, how):
    output = ["-o", tmp_path / "out"] if verb in WRITING else []
    path = littered if how == "folder" else f"{littered.parent}/*/*.zst"
    finished = cli(*verb, *output, path)
    assert finished.code == 3, finished.err
    named = [name for name in LITTER if name in finished.err]
    # A pattern finds no hidden files, and this one none that go on after the ending.
    assert named == [name for name in LITTER if how == "folder" or name not in ("._", ".part", ".nfs")]
    if verb == ["cat"]:
        assert len(finished.lines) == 10
    if verb == ["info"]:
        assert "events     10 in " in finished.out
        assert "is a copy of" in finished.err
    if verb in (["merge"], ["stats"]):
        assert "10 events" in finished.out or '"events": 10' in finished.out or "scalar.logged" in finished.out


@pytest.mark.parametrize("verb", READING + WRITING, ids=" ".join)
def test_a_bad_file_named_by_itself_is_an_error(cli, littered, tmp_path, verb):
    output = ["-o", tmp_path / "out"] if verb in WRITING else []
    finished = cli(*verb, *output, littered / "notes.esr.zst")
    assert finished.code == 1
    assert "looks like text" in finished.err or "nothing of a record is in it" in finished.err


def test_a_shell_that_spelled_a_pattern_out_is_served_too(cli, littered):
    files = [path for path in littered.iterdir() if path.is_file() and not path.name.startswith(".")]
    finished = cli("cat", "--json", *files)
    assert finished.code == 3
    assert len(finished.lines) == 10


def small_record(path, number: int, *, moment: int) -> None:
    """Write a record of two events."""
    known = HeaderInfo(run_id="many", producer_id=number.to_bytes(16, "big"), file_id=number.to_bytes(16, "little"))
    types = {run_pb2.LevelChanged: 1, training_pb2.ScalarLogged: 2}
    messages = [(training_pb2.ScalarLogged(name="n", value=1.0, step=number), {"time": moment + at}) for at in (0, 5)]
    writer = RecordWriter(path, known, [(number, event_type(cls)) for cls, number in types.items()])
    for seq, message in enumerate(messages, 1):
        writer.write(batch_of([message], seq, types))
    writer.close()


@pytest.mark.parametrize("overlapping", [False, True], ids=["one after the other", "all at once"])
@pytest.mark.parametrize("verb", [["cat", "--json"], ["info", "--json"], ["stats", "--json"], ["merge", "--json"]])
def test_far_more_files_than_may_be_open_are_read(tmp_path, verb, overlapping):
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(300):
        small_record(folder / f"{number}.esr.zst", number + 1, moment=1_000_000 + (0 if overlapping else number * 10))
    command = [sys.executable, "-m", "esper_telemetry", *verb, folder]
    command += ["-o", tmp_path / "out.esr.zst"] if verb[0] == "merge" else []

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    if verb[0] == "cat":
        steps = [json.loads(line)["data"]["step"] for line in done.stdout.splitlines()]
        assert sorted(steps) == sorted([*range(1, 301)] * 2)
        assert steps == sorted(steps) or overlapping
    else:
        assert '"events":600' in done.stdout or done.stdout.count('"events":2') == 300


def test_a_copied_segment_counts_once_for_every_verb(cli, tmp_path):
    with esper_telemetry.start_run(tmp_path, name="c", run_id="c") as run:
        for number in range(10):
            run.emit(training_pb2.ScalarLogged, name="loss", value=1.0, step=number)
    (good,) = run.folder.iterdir()
    shutil.copy(good, run.folder / f"{good.name[:-8]} 2.esr.zst")
    assert len(cli("cat", run.folder).lines) == 12
    assert "events     12 in " in cli("info", run.folder).out
    (logged,) = [one for one in json.loads(cli("stats", "--json", run.folder).out) if one["name"] == "scalar.logged"]
    assert logged["events"] == 10
    merged = cli("merge", "--json", run.folder, "-o", tmp_path / "out.esr.zst")
    assert json.loads(merged.out)["events"] == 12
    assert len(cli("tail", "-n", "100", run.folder).lines) == 12
    assert cli("verify", run.folder).code == 0
