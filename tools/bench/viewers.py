"""Measures what viewers of the live page cost a trainer: processor time of an event with none and with five of them.

Pairs alternate, because the machine may be used by others meanwhile: only the differences within a pair mean anything.
The trainer, the page and the viewers are processes of their own; the trainer emits 200 events a second. With --soak it
does so for that many minutes once, with five viewers, and the memory of the page is printed every half a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import IO

VIEWERS = 5
SAMPLE_S = 30
TRAINER = """
import sys, time
import esper_telemetry as et
folder, run_id, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
run = et.start_run(folder, name="cost", run_id=run_id)
run.emit(et.events.ScalarLogged, name="n", value=0.0, step=0)
run.flush()
print("ready", flush=True)
sys.stdin.readline()
began, used, loop, at = time.monotonic(), time.process_time(), time.thread_time(), 0
while time.monotonic() - began < seconds:
    run.emit(et.events.ScalarLogged, name="n", value=float(at), step=at)
    at += 1
    time.sleep(max(0.0, began + at / 200 - time.monotonic()))
print(at, time.process_time() - used, time.thread_time() - loop, flush=True)
run.close()
"""
VIEWER = """
import sys, threading, urllib.request
def look():
    answer = urllib.request.urlopen(sys.argv[1])
    print("open", flush=True)
    while answer.read1(1 << 16):
        pass
for _ in range(int(sys.argv[2])):
    threading.Thread(target=look).start()
"""


def first_line(stream: IO[str] | None) -> str:
    """Return the next line of a pipe."""
    if stream is None:
        raise ValueError("the process was started without this pipe")
    return stream.readline()


def print_memory(page: int, trainer: subprocess.Popen[str]) -> None:
    """Print the resident memory of the page every half a minute, until the trainer ends."""
    began = time.monotonic()
    while trainer.poll() is None:
        pages = int(Path(f"/proc/{page}/statm").read_text().split()[1])
        print(f"{time.monotonic() - began:5.0f} s: {pages * resource.getpagesize() / 2**20:.1f} MiB", flush=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            trainer.wait(SAMPLE_S)


def measured(folder: Path, run_id: str, viewers: int, seconds: float, *, memory: bool = False) -> tuple[float, float]:
    """Return microseconds of processor time of an event: of the whole trainer, and of its loop's thread."""
    command = [sys.executable, "-c", TRAINER, str(folder), run_id, str(seconds)]
    trainer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    first_line(trainer.stdout)
    ui = [sys.executable, "-m", "esper_telemetry", "ui", str(folder / run_id), "--no-open", "--listen", "127.0.0.1:0"]
    page = subprocess.Popen(ui, stderr=subprocess.PIPE, text=True)
    address = first_line(page.stderr).split(" at ")[1].split(" ")[0]
    looking = None
    if viewers:
        with urllib.request.urlopen(f"{address}api/runs") as answer:  # noqa: S310 - our own page
            key = json.load(answer)["runs"][0]["key"]
        command = [sys.executable, "-c", VIEWER, f"{address}api/stream?run={key}", str(viewers)]
        looking = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(viewers):
            first_line(looking.stdout)
    if memory and trainer.stdin is not None:
        trainer.stdin.write("\n")
        trainer.stdin.flush()
        print_memory(page.pid, trainer)
    told, _ = trainer.communicate("\n")
    if looking is not None:
        looking.kill()
        looking.wait()
    page.terminate()
    page.wait()
    count, whole, loop = map(float, told.split())
    return whole / count * 1e6, loop / count * 1e6


def main() -> None:
    """Print the medians with and without viewers, and the median of the differences of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="print the page's memory over so long instead")
    options = parser.parse_args()
    if options.soak:
        with tempfile.TemporaryDirectory(prefix="esper-viewers-") as folder:
            measured(Path(folder), "soak", VIEWERS, 60 * options.soak, memory=True)
        return
    found: dict[int, list[tuple[float, float]]] = {0: [], VIEWERS: []}
    with tempfile.TemporaryDirectory(prefix="esper-viewers-") as folder:
        for pair in range(options.pairs):
            for viewers in (0, VIEWERS) if pair % 2 else (VIEWERS, 0):
                found[viewers].append(measured(Path(folder), f"p{pair}v{viewers}", viewers, options.seconds))
    for at, what in enumerate(("whole process", "thread of the loop")):
        without, watched = ([one[at] for one in found[viewers]] for viewers in (0, VIEWERS))
        difference = statistics.median(more - less for less, more in zip(without, watched, strict=True))
        print(
            f"{what}: {statistics.median(without):.1f} us an event without viewers, "
            f"{statistics.median(watched):.1f} us with {VIEWERS}; median difference of {options.pairs} pairs "
            f"{difference:+.1f} us"
        )


if __name__ == "__main__":
    main()
