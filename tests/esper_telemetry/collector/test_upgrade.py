"""A planned upgrade: the collector is stopped and started anew under trainers that stream; nothing is lost or twice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time

import esper_telemetry as et

TRAINER = """
import sys, time
from pathlib import Path
import esper_telemetry as et
folder, stop, rank, address = sys.argv[1:]
step = 0
with et.start_run(folder, name="upgrade", run_id=f"upgrade-{rank}", collector=address) as run:
    while not Path(stop).exists():
        run.emit(et.events.ScalarLogged, name="loss", value=float(step), step=step)
        step += 1
        time.sleep(0.01)
print(step)
"""


def stored(folder, rank: int) -> list[int]:
    """Return the steps that the collector has of a trainer, in order."""
    try:
        return [event.data["step"] for event in et.read(folder / f"upgrade-{rank}", types="scalar.*")]
    except et.TelemetryError:
        return []


def test_streams_go_on_at_the_new_collector_and_every_event_is_there_once(start_collector, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    collector = start_collector(listen=address)
    command = [sys.executable, "-c", TRAINER, str(tmp_path / "local"), str(tmp_path / "stop")]
    trainers = [
        subprocess.Popen([*command, str(rank), address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for rank in range(3)
    ]
    for _ in range(2):
        had = [len(stored(collector.folder, rank)) for rank in range(3)]
        while not all(len(stored(collector.folder, rank)) > before for rank, before in enumerate(had)):
            time.sleep(0.2)  # the test's own limit ends it
        assert collector.terminate() == 0
        collector = start_collector(listen=address)
    (tmp_path / "stop").touch()
    emitted = [int(trainer.communicate(timeout=120)[0].split()[-1]) for trainer in trainers]
    while any(len(stored(collector.folder, rank)) < emitted[rank] for rank in range(3)):
        time.sleep(0.2)
    for rank in range(3):
        assert stored(collector.folder, rank) == [*range(emitted[rank])]
    assert json.dumps(collector.log()).count("Traceback") == 0
