"""How long a collector takes from its start until it serves, with many sealed runs in its folder.

    python tools/bench/collector_start.py [--runs N]

Makes N runs of one small sealed segment each, and starts a collector on them: without an index, until it serves and
until the index is complete; with it; after a kill; and on an empty folder, for what the process takes by itself. The
files are not synced when they are made, so that making 20,000 of them takes a minute.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EVENTS = 20


def make_runs(root: Path, count: int) -> None:
    """Make runs as a collector leaves them, with one segment each."""
    from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter, append
    from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, descriptor_at
    from esper_telemetry.schema import Batch, event_type, frame_event
    from esper_telemetry.schema.fingerprint import merged_header
    from esper_telemetry.storage.naming import run_folder, segment_names
    from esper_telemetry.storage.segment_writer import SegmentWriter, own_header
    from esper_telemetry.v1 import training_pb2

    append._sync_data = lambda _descriptor: None  # noqa: SLF001 - nothing of a bench has to survive a power loss
    root.mkdir()
    path = root.parent / "frames.esr.zst"
    info = HeaderInfo(run_id="bench", producer_id=bytes(16), anchor_unix_nano=time.time_ns())
    writer = RecordWriter(path, info, [(1, event_type(training_pb2.ScalarLogged))])
    events = [frame_event(1, seq, seq, b"", b"") for seq in range(1, EVENTS + 1)]
    writer.write(Batch(events, [1] * EVENTS, 1, EVENTS, 1, EVENTS))
    writer.close()
    with RecordReader(path) as reader:
        header = merged_header(reader.header, reader.descriptor_sets)
        payload = reader.read_raw(next(iter(reader.frames())))
    descriptor = descriptor_at(payload, len(payload) - DESCRIPTOR_BYTES)
    assert descriptor is not None  # noqa: S101 - it was written just now
    for number in range(count):
        header.run_id, header.producer_id, header.stream = f"bench-{number:06d}", os.urandom(16), "main"
        folder = root / run_folder(header.run_id)
        folder.mkdir()
        own = own_header(header, 1, b"", 0)
        segment = SegmentWriter(folder / segment_names(own, 1)[0], own, lambda _seconds: None)
        segment.append([(payload, descriptor)])
        segment.seal()
        os.utime(folder, (time.time() - 3600, time.time() - 3600))  # a folder of just now is listed twice


def start(root: Path, until: str, end: signal.Signals = signal.SIGTERM) -> tuple[float, float]:
    """Start a collector, wait for a line with `until`, and end it; return the seconds until then: wall, processor."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "esper_telemetry", "collect", "--dir", str(root), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it has a pipe
        for line in process.stdout:
            if until in line:
                break
        wall = time.perf_counter() - began
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        process.send_signal(end)
        process.stdout.read()
    return wall, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print a line for each start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs, empty = folder / "runs", folder / "empty"
        make_runs(runs, args.runs)
        print(f"seconds (wall, processor) of a collector with {args.runs:,} sealed runs, of which the process alone:")
        print("  on an empty folder          {:6.2f} {:6.2f}".format(*start(empty, "listening on")))
        print("  no index, until it serves   {:6.2f} {:6.2f}".format(*start(runs, "listening on")))
        print("  no index, until it has one  {:6.2f} {:6.2f}".format(*start(runs, "the index is complete")))
        for text, end in (("with the index, ended", signal.SIGTERM), ("with the index, killed", signal.SIGKILL)):
            print(f"  {text:<28}" + "{:6.2f} {:6.2f}".format(*start(runs, "listening on", end)))
        print("  after the kill              {:6.2f} {:6.2f}".format(*start(runs, "listening on")))


if __name__ == "__main__":
    main()
