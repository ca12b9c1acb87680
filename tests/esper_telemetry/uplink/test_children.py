"""The streams of a trainer's child processes: the agent and `push` send them with their parent's."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import esper_telemetry as et
from esper_telemetry.recordfile import RecordReader, list_run
from esper_telemetry.uplink.sender import LOG_NAME
from tests.esper_telemetry.uplink.trainers import send

TRAINER = """
import os, signal, sys, time
import esper_telemetry as et

def child(run, steps, end):
    if not os.fork():
        for step in range(steps):
            run.emit(et.events.ScalarLogged, name="child", step=step)
        run.flush()
        end()
        os._exit(0)

run = et.start_run(
    sys.argv[1], name="parent", collector=sys.argv[2] or None, stream=et.StreamOptions(give_up_after=20.0),
    record=et.RecordOptions(flush_interval=0.05),
)
print(run.folder, flush=True)
child(run, 100, run.close)
os.wait()
time.sleep(1.5)  # the agent has begun, and must look again
child(run, 100, lambda: os.kill(os.getpid(), signal.SIGKILL))
os.wait()
child(run, 100, lambda: (time.sleep(2.5), run.emit(et.events.ScalarLogged, name="late"), run.close()))
run.close()
os._exit(0)  # the last child goes on
"""


def trained(root, address="") -> Path:
    done = subprocess.run(
        [sys.executable, "-c", TRAINER, root, address], capture_output=True, text=True, check=True, timeout=60
    )
    return Path(done.stdout.strip())


def names(paths):
    found = Counter()
    for path in paths:
        found.update(event.data.get("name", event.type) for event in et.read(path))
    return found


def stored(collector, folder):
    return list((collector.folder / folder.name).glob("*.esr.zst"))


EXPECTED = {"parent": 1, "run.finished": 1, "child": 300, "late": 1, "stream.finished": 2}


def test_the_agent_sends_the_streams_of_children_whenever_they_begin_and_ends_with_the_last(collector, tmp_path, kit):
    folder = trained(tmp_path / "runs", collector.address)
    kit.wait_until(lambda: "late" in names(list_run(folder)))
    kit.wait_until(lambda: (folder / LOG_NAME).read_text().count("complete") == 4)
    assert names(stored(collector, folder)) == EXPECTED
    parents = set()
    for path in stored(collector, folder):
        with RecordReader(path) as reader:
            parents.add(reader.header.parent_producer_id)
    assert len(parents) == 2, "the collector keeps whose child a stream is"


def test_push_sends_the_streams_of_children(collector, tmp_path, kit):
    folder = trained(tmp_path / "runs")
    kit.wait_until(lambda: "late" in names(list_run(folder)))
    send(folder, collector.address)
    assert names(stored(collector, folder)) == EXPECTED
