"""How late a reader sees what a living process writes, over rotation: `esper-telemetry tail -f` without the printing.

    python tools/bench/follow.py [--interval 0.05] [--rate 2000] [--seconds 5]

The writer flushes every `interval`; the goal is a 99th percentile under three of them, every event once and in order.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time

from esper_telemetry.recordfile import follow

WRITER = """
    import sys, time
    import esper_telemetry as et
    from esper_telemetry import events
    interval, rate, seconds = map(float, sys.argv[2:])
    options = et.RecordOptions(flush_interval=interval, segment_bytes=100_000)
    with et.start_run(sys.argv[1], name="followed", record=options) as run:
        print(run.folder, flush=True)
        started = time.monotonic()
        count = 0
        while time.monotonic() - started < seconds:
            for _ in range(count, due := int((time.monotonic() - started) * rate)):
                run.emit(events.ScalarLogged, name="x", value=1.0, step=time.time_ns())
            count = max(count, due)
            time.sleep(0.001)
"""


def main() -> None:
    """Print the delays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interval", type=float, default=0.05, help="flush interval of the writer, seconds")
    parser.add_argument("--rate", type=float, default=2000, help="events a second")
    parser.add_argument("--seconds", type=float, default=5, help="length of the run")
    options = parser.parse_args()
    delays: list[float] = []
    seqs: list[int] = []
    segments = set()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(value) for value in (options.interval, options.rate, options.seconds)]
        command = [sys.executable, "-c", textwrap.dedent(WRITER), folder, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            run = writer.stdout.readline().strip() if writer.stdout is not None else ""
            for found in follow(run, poll_interval=options.interval / 10):
                now = time.time_ns()
                segments.add(found.path)
                seqs.extend(event.seq for event in found.events)
                delays.extend((now - event.time_unix_nano) / 1e9 for event in found.events)
    if seqs != list(range(1, len(seqs) + 1)):
        raise SystemExit("the follower missed, repeated or reordered events")
    cuts = statistics.quantiles(delays, n=100)
    print(f"{len(seqs):,} events over {len(segments)} segments, each once and in order")
    print(f"flush interval {options.interval * 1e3:.0f} ms: seen after {cuts[49] * 1e3:.0f} ms (p50),", end=" ")
    print(f"{cuts[98] * 1e3:.0f} ms (p99), {max(delays) * 1e3:.0f} ms (worst)")


if __name__ == "__main__":
    main()
