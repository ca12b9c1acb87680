"""A planned upgrade: the collector is stopped and started anew under trainers that stream; nothing is lost or twice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time

import pytest

import esper_telemetry as et

PROCESSES, EACH = 4, 5
RANKS = PROCESSES * EACH
TRAINER = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
import esper_telemetry as et
folder, stop, first, count, address = sys.argv[1:]
step = 0
with ExitStack() as stack:
    runs = [
        stack.enter_context(et.start_run(folder, name="upgrade", run_id=f"upgrade-{rank}", collector=address))
        for rank in range(int(first), int(first) + int(count))
    ]
    while not Path(stop).exists():
        for run in runs:
            run.emit(et.events.ScalarLogged, name="loss", value=float(step), step=step)
        step += 1
        time.sleep(0.02)
print(step)
"""


def stored(folder, rank: int) -> list[int]:
    """Return the steps that the collector has of a trainer, in order."""
    try:
        return [event.data["step"] for event in et.read(folder / f"upgrade-{rank}", types="scalar.*")]
    except et.TelemetryError:
        return []


@pytest.mark.slow  # twenty runs in four processes, and three starts of a collector under them
def test_streams_go_on_at_the_new_collector_and_every_event_is_there_once(start_collector, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    collector = start_collector(listen=address)
    command = [sys.executable, "-c", TRAINER, str(tmp_path / "local"), str(tmp_path / "stop")]
    trainers = [
        subprocess.Popen(
            [*command, str(first), str(EACH), address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for first in range(0, RANKS, EACH)
    ]
    for _ in range(2):
        had = [len(stored(collector.folder, rank)) for rank in range(RANKS)]
        while not all(len(stored(collector.folder, rank)) > before for rank, before in enumerate(had)):
            time.sleep(0.5)  # the test's own limit ends it
        assert collector.terminate() == 0
        collector = start_collector(listen=address)
    (tmp_path / "stop").touch()
    said = [trainer.communicate(timeout=120)[0] for trainer in trainers]
    emitted = [int(text.split()[-1]) for text in said for _ in range(EACH)]
    while any(len(stored(collector.folder, rank)) < emitted[rank] for rank in range(RANKS)):
        time.sleep(0.5)
    for rank in range(RANKS):
        assert stored(collector.folder, rank) == [*range(emitted[rank])]
    assert json.dumps(collector.log()).count("Traceback") == 0
