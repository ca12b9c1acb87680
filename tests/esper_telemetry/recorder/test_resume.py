"""Runs that are gone on with: by processes that were really killed, launched and restarted."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import esper_telemetry as et
from esper_telemetry.errors import ConfigError, RecordError
from esper_telemetry.recordfile import list_run, list_streams
from esper_telemetry.sinks import FileSink
from esper_telemetry.testing import running_collector
from tests.esper_telemetry.collectorprocess import wait_until

LAUNCHER = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_RESTART_COUNT")
PROGRAM = """
import json, os, sys
import esper_telemetry as et
run = et.start_run(sys.argv[1], name="r", **json.loads(sys.argv[2]))
print(run.run_id, flush=True)
run.emit(et.events.ScalarLogged, name="loss", value=1.0)
run.flush()
if sys.argv[3] == "wait":
    sys.stdin.read()
elif sys.argv[3] == "kill":
    os.kill(os.getpid(), 9)
run.close()
"""


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*LAUNCHER, "ESPER_TELEMETRY_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def start(folder: Path, options: str = '{"run_id": "exp"}', *, end: str = "close", **environment: str):
    """Start a program that records a run; it waits, dies or ends."""
    command = [sys.executable, "-c", PROGRAM, str(folder), options, end]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def run(folder: Path, options: str = '{"run_id": "exp"}', *, end: str = "close", **environment: str) -> str:
    """Run such a program to its end; return what it says on stderr."""
    process = start(folder, options, end=end, **environment)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if end == "kill" else 0), said
    return said


def attempts(folder: Path) -> list[tuple[int, int]]:
    """Return rank and attempt of each stream."""
    return sorted((stream.header.rank, stream.attempt) for stream in list_streams(folder))


def arrived(folder: Path) -> int:
    """Return how many streams have come to their end at a collector."""
    with contextlib.suppress(RecordError):
        return sum(1 for _ in et.read(folder, types="run.finished", strict=False))
    return 0


def resumed(folder: Path) -> list[dict]:
    return [event.data for event in et.read(folder, types="run.resumed")]


def test_a_run_that_was_killed_is_resumed_under_its_id(tmp_path):
    run(tmp_path, end="kill")
    with et.start_run(tmp_path, name="r", resume="exp", resumed_from={"step": 500, "episode": 7}) as again:
        assert (again.run_id, again.folder) == ("exp", tmp_path / "exp")
    assert attempts(tmp_path / "exp") == [(0, 1), (0, 2)]
    assert resumed(tmp_path / "exp") == [{"attempt": 2, "source": "resume", "from_step": 500, "from_episode": 7}]
    started = [event.data["attempt"] for event in et.read(tmp_path / "exp", types="run.started")]
    assert started == [1, 2]


def test_the_event_stands_behind_run_started_at_every_level(tmp_path):
    run(tmp_path)
    et.start_run(tmp_path, name="r", resume="exp", level="off").close()
    events = [event.type for event in et.read(tmp_path / "exp") if event.type != "scalar.logged"]
    assert events == ["run.started", "run.finished", "run.started", "run.resumed", "telemetry.disabled", "run.finished"]


@pytest.mark.parametrize("given", ["the folder", "the folder, relative", "a link to it"])
def test_a_run_is_resumed_by_its_folder_wherever_that_is(tmp_path, monkeypatch, given):
    run(tmp_path / "runs")
    folder = tmp_path / "runs" / "exp"
    if given == "the folder, relative":
        monkeypatch.chdir(tmp_path)
        folder = Path("runs/exp")
    elif given == "a link to it":
        folder = tmp_path / "latest"
        folder.symlink_to(tmp_path / "runs" / "exp")
    et.start_run(None, name="r", resume=folder).close()
    assert attempts(tmp_path / "runs" / "exp") == [(0, 1), (0, 2)]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["exp"]


def test_what_cannot_be_resumed_is_refused_and_what_is_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"resume='exp': there is no such run; .*cannot be read"):
        et.start_run(tmp_path / "nowhere", name="r", resume="exp")
    with pytest.raises(ConfigError, match="holds no run"):
        et.start_run(tmp_path, name="r", resume="exp")
    run(tmp_path)
    with pytest.raises(ConfigError, match=r"no such run; .* holds exp$"):
        et.start_run(tmp_path, name="r", resume="exq")
    with pytest.raises(ConfigError, match="pass the path of a run folder"):
        et.start_run(None, name="r", resume="exp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no record"):
        et.start_run(tmp_path, name="r", resume="empty")
    with pytest.raises(ConfigError, match="name two runs"):
        et.start_run(tmp_path, name="r", resume="exp", run_id="other")
    (tmp_path / "exp").rename(tmp_path / "copy")
    with pytest.raises(ConfigError, match="holds the run 'exp'; name the folder so"):
        et.start_run(tmp_path, name="r", resume="copy")
    assert len(list_run(tmp_path / "copy")) == 1, "nothing was begun"


def test_a_run_that_is_still_being_written_is_not_resumed(tmp_path):
    with start(tmp_path, end="wait") as process:
        process.stdout.readline()
        with pytest.raises(ConfigError, match=f"rank 0 of run 'exp' is still being written by process {process.pid}"):
            et.start_run(tmp_path, name="r", resume="exp")
        process.stdin.close()
        process.wait(60)
    et.start_run(tmp_path, name="r", resume="exp").close()
    assert attempts(tmp_path / "exp") == [(0, 1), (0, 2)]


def test_another_rank_may_join_while_the_first_one_writes(tmp_path):
    run(tmp_path, end="kill")
    run(tmp_path, '{"run_id": "exp", "rank": 1}', end="kill")
    with et.start_run(tmp_path, name="r", resume="exp"):
        run(tmp_path, '{"resume": "exp", "rank": 1}')
    assert attempts(tmp_path / "exp") == [(0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize("rank", [None, "1", 1.5, -1, True, 1 << 64])
def test_a_place_that_is_no_number_is_refused(tmp_path, rank):
    with pytest.raises(ConfigError, match="must be a whole number"):
        et.start_run(tmp_path, name="r", resumed_from={"step": rank})


@pytest.mark.parametrize("resume", [3, True, "", b"exp", object()])
def test_what_cannot_name_a_run_is_refused(tmp_path, resume):
    with pytest.raises(ConfigError, match="give the id of a run, or its folder"):
        et.start_run(tmp_path, name="r", resume=resume)


def test_a_place_that_is_no_mapping_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="resumed_from is list; give a mapping"):
        et.start_run(tmp_path, name="r", resumed_from=[500])


def test_a_place_of_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"resumed_from\['epoch'\] is unknown; use one of step, batch_idx"):
        et.start_run(tmp_path, name="r", resumed_from={"epoch": 3})
    assert not list(tmp_path.iterdir())


def test_a_place_without_a_run_to_resume_is_said_to_be_left_out(tmp_path, caplog):
    et.start_run(tmp_path, name="r", run_id="new", resumed_from={"step": 5}).close()
    assert "resumed_from is left out" in caplog.text
    assert not resumed(tmp_path / "new")


@pytest.mark.parametrize(
    ("first", "second", "source"),
    [
        ({"TORCHELASTIC_RESTART_COUNT": "0"}, {"TORCHELASTIC_RESTART_COUNT": "1"}, "torchelastic"),
        ({"SLURM_JOB_ID": "5"}, {"SLURM_JOB_ID": "5", "SLURM_RESTART_COUNT": "1"}, "slurm"),
        ({}, {}, "run_id"),
    ],
    ids=["torchrun", "slurm", "by hand"],
)
def test_a_job_that_is_restarted_makes_the_next_attempt_with_all_its_ranks(tmp_path, first, second, source):
    for environment in (first, second):
        for rank in (1, 0):
            options = f'{{"rank": {rank}, "resumed_from": {{"step": 3}}}}'
            run(tmp_path, options, end="kill", ESPER_TELEMETRY_RUN_ID="job", **environment)
    assert attempts(tmp_path / "job") == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert resumed(tmp_path / "job") == [{"attempt": 2, "source": source, "from_step": 3}] * 2


def test_a_restart_that_had_no_record_before_is_counted_as_the_launcher_does(tmp_path):
    run(tmp_path, TORCHELASTIC_RESTART_COUNT="2")
    assert attempts(tmp_path / "exp") == [(0, 3)]
    assert not resumed(tmp_path / "exp"), "nothing is there to go on with"


def test_two_trials_of_one_process_are_two_runs(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_RUN_ID", "job")
    for trial in range(3):
        with et.start_run(tmp_path, name=f"trial{trial}", config={"lr": trial}):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job", "job-2", "job-3"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "this is another run, 'job-2'" in caplog.text
    started = [event.data for event in et.read(tmp_path / "job-2", types="run.started")]
    assert [(one["name"], one["run_id"], one["attempt"]) for one in started] == [("trial1", "job-2", 1)]


def test_the_same_trials_after_a_restart_are_attempts_at_the_same_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_RUN_ID", "job")
    program = "import esper_telemetry as et, sys\nfor _ in range(2): et.start_run(sys.argv[1], name='r').close()"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program, tmp_path], check=True, timeout=60, stderr=subprocess.DEVNULL)
    assert attempts(tmp_path / "job") == attempts(tmp_path / "job-2") == [(0, 1), (0, 2)]


def test_a_start_that_failed_has_used_no_id(tmp_path, caplog):
    with pytest.raises(ConfigError):
        et.start_run(tmp_path, name="r", run_id="x", resumed_from={"step": "no"})
    et.start_run(tmp_path, name="r", run_id="x").close()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert not caplog.records


def test_ranks_and_folders_of_their_own_are_no_second_run(tmp_path, caplog):
    for rank in range(2):
        et.start_run(tmp_path / "a", name="r", run_id="x", rank=rank).close()
    et.start_run(tmp_path / "b", name="r", run_id="x").close()
    assert attempts(tmp_path / "a" / "x") == [(0, 1), (1, 1)]
    assert attempts(tmp_path / "b" / "x") == [(0, 1)]
    assert not caplog.records


def test_a_process_may_resume_its_own_run(tmp_path):
    et.start_run(tmp_path, name="r", run_id="x").close()
    et.start_run(tmp_path, name="r", resume="x").close()
    with et.start_run(tmp_path, name="r", resume="x"), pytest.raises(ConfigError, match="still being written"):
        et.start_run(tmp_path, name="r", resume="x")
    assert attempts(tmp_path / "x") == [(0, 1), (0, 2), (0, 3)]


def test_two_processes_that_write_one_rank_at_once_are_told(tmp_path):
    with start(tmp_path, end="wait") as process:
        process.stdout.readline()
        said = run(tmp_path)
        process.communicate(timeout=60)
    assert "give each process of a run a rank of its own" in said
    assert attempts(tmp_path / "exp") == [(0, 1), (0, 1)]


def test_a_product_that_is_switched_off_asks_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    off = et.start_run(tmp_path, name="r", resume=tmp_path / "never", resumed_from={"step": 1})
    off.emit(et.events.ScalarLogged, name="x")
    off.close()
    assert off.run_id == "never"
    assert not list(tmp_path.iterdir())


def test_a_spool_that_was_sent_and_removed_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    opened = []
    monkeypatch.setattr("esper_telemetry.recorder.agent_process.start_agent", lambda *args, **more: opened.append(more))
    with et.start_run(None, name="r", resume="far", collector="127.0.0.1:1") as again:
        folder = again.folder
    assert attempts(folder) == [(0, 2)]
    assert opened == [{"temporary": True, "compact": True}]


def test_a_folder_that_is_resumed_and_sent_is_not_removed_afterwards(tmp_path, monkeypatch):
    run(tmp_path)
    opened = []
    monkeypatch.setattr("esper_telemetry.recorder.agent_process.start_agent", lambda *args, **more: opened.append(more))
    et.start_run(None, name="r", resume=tmp_path / "exp", collector="127.0.0.1:1").close()
    assert opened == [{"temporary": False, "compact": True}]


@pytest.mark.parametrize("spooled", [False, True], ids=["kept here", "kept by the collector alone"])
def test_a_collector_takes_the_second_attempt_at_a_run(tmp_path, monkeypatch, spooled):
    pytest.importorskip("prometheus_client")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = None if spooled else tmp_path / "runs"
    with running_collector(tmp_path / "collected") as address:
        for options in ({"run_id": "exp"}, {"resume": "exp", "resumed_from": {"step": 5}}):
            with et.start_run(folder, name="r", collector=address, **options) as again:
                for step in range(10):
                    again.emit(et.events.ScalarLogged, name="loss", value=1.0, step=step)
            ends = 2 if "resume" in options else 1
            wait_until(lambda ends=ends: arrived(tmp_path / "collected" / "exp") == ends)
    assert attempts(tmp_path / "collected" / "exp") == [(0, 1), (0, 2)]
    found = et.read(tmp_path / "collected" / "exp", types="scalar.logged", latest=True)
    assert [event.data["step"] for event in found] == [*range(5), *range(10)]


def test_the_agent_may_take_closed_segments_away_only_where_it_was_allowed_to(tmp_path, monkeypatch, mocker):
    monkeypatch.setattr("esper_telemetry.recorder.agent_process.start_agent", lambda *_, **__: None)
    sinks = mocker.spy(FileSink, "__init__")
    for keep in (True, False):
        options = {"collector": "127.0.0.1:1", "stream": et.StreamOptions(keep_local=keep)}
        et.start_run(tmp_path, name="r", **options).close()
    et.start_run(tmp_path, name="r").close()
    assert [call.kwargs["watch_earlier"] for call in sinks.call_args_list] == [True, False, True]
