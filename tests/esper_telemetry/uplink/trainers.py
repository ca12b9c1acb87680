"""Training processes with a collector, to be watched and killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from esper_telemetry.uplink.delivery import PushOptions
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.uplink.sender import LOG_NAME, push

TRAINER = """
import os, sys, time
import esper_telemetry as et
folder, address, steps, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
options = dict(arg.split("=") for arg in sys.argv[5:])
run = et.start_run(
    None if folder == "none" else folder, name="trainer", collector=address, rank=int(options.get("rank", 0)),
    stream=et.StreamOptions(keep_local=options.get("keep") != "no", flush_interval=0.02, give_up_after=20.0),
    record=et.RecordOptions(
        segment_bytes=int(options.get("segment", 1 << 28)), compact=options.get("compact") == "yes"
    ),
)
print(run.folder, flush=True)
for step in range(steps):
    run.emit(et.events.ScalarLogged, name="loss", value=step / 7, step=step)
    if pause:
        time.sleep(pause)
run.close()
assert not any(name.split(".")[0] == "grpc" for name in sys.modules)
print(run.stats().offered, flush=True)
"""


class Trainer:
    """A training process; `folder` is its run folder."""

    def __init__(self, root, address, *, steps=2000, pause=0.0, **options):
        given = [f"{key}={value}" for key, value in options.items()]
        command = [sys.executable, "-c", TRAINER, str(root), address, str(steps), str(pause), *given]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.folder = Path(self.process.stdout.readline().strip())
        self.run_id = self.folder.name

    def finish(self) -> int:
        """Wait for its end; return the events it offered."""
        out = self.process.stdout.read()  # not communicate(): the second line may be in the buffer of the first
        assert self.process.wait(timeout=120) == 0
        return int(out)

    @property
    def log(self) -> str:
        path = self.folder / LOG_NAME
        return path.read_text() if path.exists() else ""

    @property
    def agent(self) -> int:
        """Process id of the agent, once it has said something."""
        return int(re.search(r"\[(\d+)\]", self.log)[1])


def kill_agent(pid: int) -> None:
    """Kill an agent and wait for its death; it may be nobody's child, and its number somebody else's by now."""
    command = Path(f"/proc/{pid}/cmdline")  # empty once it is dead and not waited for
    try:
        while b"esper_telemetry.uplink" in command.read_bytes():
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
    except (FileNotFoundError, ProcessLookupError):
        pass


def end_trainer(trainer: Trainer) -> None:
    """Kill a trainer and its agents."""
    if trainer.process.poll() is None:
        trainer.process.kill()
    trainer.process.wait()
    trainer.process.stdout.close()
    for pid in {int(pid) for pid in re.findall(r"\[(\d+)\]", trainer.log)}:
        kill_agent(pid)


def send(folder, address, **how):
    """Push a folder; return the reports."""
    return push([folder], Endpoint(address), PushOptions(give_up_s=20.0, **how), lambda text: None)
