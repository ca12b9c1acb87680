"""The agent as the trainer sees it: a process that is started and forgotten. Nobody listens for it here."""

import logging
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.errors import ConfigError
from esper_telemetry.recorder.agent_process import LOG_NAME, agent_command, spool_folder, start_agent
from esper_telemetry.recordfile import RecordReader

QUICK = et.StreamOptions(give_up_after=0.2)


@pytest.fixture
def nobody():
    """The address of nobody: the port is taken, and nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def wait_for_end(pid):
    deadline = time.monotonic() + 60
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < deadline, "the agent never ended"
        time.sleep(0.02)


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", ":7575", "a:b:1", "unix:", "http://a:1"])
def test_anything_else_is_refused_before_anything_is_written(address, tmp_path):
    with pytest.raises(ConfigError, match="host:port"):
        et.start_run(tmp_path, name="first", collector=address)
    assert list(tmp_path.iterdir()) == []


def test_the_agent_is_told_what_the_options_say(tmp_path):
    options = et.StreamOptions(token_file="token", tls=True, keep_local=False, give_up_after=7.0)  # noqa: S106 - a path
    command = agent_command(tmp_path, "a:1", options, temporary=True)
    assert command[0] == sys.executable
    assert command[-2:] == [str(tmp_path), "a:1"]
    assert {"--tls", "--remove", "--temporary"} <= set(command)
    assert command[command.index("--token-file") + 1] == str(Path("token").resolve())
    assert command[command.index("--give-up-after") + 1] == "7.0"


def test_the_agent_understands_what_it_is_told(tmp_path, nobody):
    options = et.StreamOptions(give_up_after=0.2, keep_local=False)
    with et.start_run(tmp_path, name="first") as run:
        pass
    wait_for_end(start_agent(run.folder, nobody, options, temporary=True))
    assert re.search(r"given up after 0\.\d s without progress", (run.folder / LOG_NAME).read_text())
    assert [path.name for path in run.paths] == [path.name for path in run.folder.glob("*.zst")]


def test_the_agent_has_a_session_and_files_of_its_own(tmp_path, nobody):
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)  # noqa: FBT003 - its only form; as a library does that knows nothing of exec
    with et.start_run(tmp_path, name="first") as run:
        pid = start_agent(run.folder, nobody, et.StreamOptions(give_up_after=30.0), temporary=False)
        try:
            assert os.getsid(pid) == pid
            os.close(writer)
            assert os.read(reader, 1) == b"", "the agent holds a file of the trainer open"
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(reader)


@pytest.mark.parametrize("executable", ["no-python", "", None])
def test_a_run_goes_on_without_an_agent_and_says_how_to_send_it_later(tmp_path, monkeypatch, caplog, executable):
    monkeypatch.setattr(sys, "executable", executable)
    with caplog.at_level(logging.WARNING), et.start_run(tmp_path, name="first", collector="localhost:1") as run:
        run.emit(events.ScalarLogged, name="loss", value=1.0)
    assert "esper-telemetry push" in caplog.text
    with RecordReader(run.paths[0]) as reader:
        assert reader.records == 3
        assert reader.closed


def test_streaming_flushes_more_often(tmp_path, nobody):
    with et.start_run(tmp_path, name="first", collector=nobody, stream=QUICK) as run:
        pass
    with RecordReader(run.paths[0]) as reader:
        assert reader.header.flush_policy.flush_interval_s == 0.2


def test_a_spool_is_closed_to_others_and_not_taken_from_them(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = spool_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert spool_folder() == folder
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert spool_folder() != folder


FORKING = """
import os, sys
import esper_telemetry as et
run = et.start_run(sys.argv[1], name="forks", collector=sys.argv[2], stream=et.StreamOptions(give_up_after=0.2))
for step in range(1000):
    run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=step)
    child = os.fork()
    if child == 0:
        run.emit(et.events.ScalarLogged, name="child", value=0.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
run.close()
heavy = {name.split(".")[0] for name in sys.modules} & {"grpc", "torch", "asyncio"}
assert not heavy, heavy
print(run.paths[0])
"""


def test_a_trainer_that_forks_all_the_time_is_not_held_up_and_never_loads_grpc(tmp_path, nobody):
    command = [sys.executable, "-c", FORKING, str(tmp_path), nobody]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    with RecordReader(finished.stdout.strip()) as reader:
        assert reader.closed
        assert reader.records == 1002
        assert [event.seq for event in reader.events()] == list(range(1, 1003))


LOADING = """
import sys, torch
import esper_telemetry as et
from torch.utils.data import DataLoader
with et.start_run(sys.argv[1], name="loader", collector=sys.argv[2], stream=et.StreamOptions(give_up_after=0.2)) as run:
    for epoch in range(3):
        for step, batch in enumerate(DataLoader(list(range(64)), batch_size=8, num_workers=2)):
            run.emit(et.events.ScalarLogged, name="sum", value=float(batch.sum()), step=step)
assert "grpc" not in sys.modules
print(run.paths[0])
"""


def test_a_trainer_with_loader_processes_runs_through(tmp_path, nobody):
    pytest.importorskip("torch")
    command = [sys.executable, "-c", LOADING, str(tmp_path), nobody]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert finished.returncode == 0, finished.stderr
    with RecordReader(finished.stdout.strip()) as reader:
        assert reader.closed
        assert reader.records == 26
