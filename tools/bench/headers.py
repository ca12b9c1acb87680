"""What headers cost: all HEADER frames of a closed segment with what is behind them (DESC, EPAR), in bytes.

    python tools/bench/headers.py

Real runs that emit three event types, and seventeen, a flush after each event: as they were written, and as they are
after they could be compacted at close. A third one rotates: each later segment is measured. No times are taken.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import figures

import esper_telemetry as et
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES
from esper_telemetry.recordfile.salvage import parity_behind
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.schema.builtin import built_in_types

if TYPE_CHECKING:
    from collections.abc import Sequence

# Issue 15: at most so many bytes, and what would be a moonshot.
GOALS = {3: (4_000, 2_500), 17: (9_000, 6_000)}
# What a PPO trainer emits beside run.started, run.finished and the configuration.
SEVENTEEN = (
    "scalar.logged",
    "epoch.completed",
    "batch.completed",
    "ppo.update_completed",
    "policy.action_distribution",
    "reward.summary",
    "perf.throughput",
    "episode.completed",
    "run.progress",
    "phase.timed",
    "artifact.logged",
    "text.logged",
    "checkpoint.saved",
    "rollout.completed",
    "eval.completed",
)


class HeaderBytes(NamedTuple):
    """What the headers of a file take.

    Attributes:
        headers: how many there are.
        types: types that they declare.
        size: bytes of all of them, each with its DESC and its EPAR.
    """

    headers: int
    types: int
    size: int


def header_bytes(path: Path) -> HeaderBytes:
    """Return what the headers of a file of one segment take."""
    source = FileSource(path)
    try:
        with RecordReader(path) as reader:
            (segment,) = reader.segments
        size = 0
        for offset, desc in segment.headers:
            end = offset + desc.compressed_size + DESCRIPTOR_BYTES
            parity = parity_behind(source, end)
            behind = int.from_bytes(source.read_at(end + 4, 4), "little") + 8 if parity is not None else 0
            size += end - offset + behind
        return HeaderBytes(len(segment.headers), len(segment.types), size)
    finally:
        source.close()


def record(folder: Path, names: Sequence[str], *, compact: bool, segment_bytes: int = 1 << 28) -> list[Path]:
    """Record a run that emits one event of each type, each flushed; return its segments."""
    kinds = {kind.name: kind for kind in built_in_types()}
    options = et.RecordOptions(compact=compact, segment_bytes=segment_bytes)
    config = {"lr": 3e-4} if len(names) > 1 else None
    with et.start_run(folder, name="headers", config=config, level="debug", record=options) as run:
        for number, name in enumerate(names):
            needs: dict[str, object] = dict.fromkeys(kinds[name].requires, 1)
            if "device" in needs:
                needs["device"] = "cpu"
            run.bind(**{"batch_idx": number, **needs}).emit(kinds[name].cls())
            run.flush()
    return sorted(run.paths)


def main() -> None:
    """Print a line for each run."""
    with tempfile.TemporaryDirectory() as scratch:
        for names in (SEVENTEEN[:1], SEVENTEEN):
            for compact in (False, True):
                (path,) = record(Path(scratch), names, compact=compact)
                found = header_bytes(path)
                goal, moonshot = GOALS[found.types]
                of = f"a run of {found.types} types, {'compacted' if compact else 'as written'}"
                figures.report("bytes of the headers", found.size, of=of, goal=goal, unit=" B")
                print(
                    f"{found.types} types, {'compacted' if compact else 'as written'}: {found.headers} headers,"
                    f" {found.size:,} bytes (goal {goal:,}, moonshot {moonshot:,}) of {path.stat().st_size:,}"
                )
        later = record(Path(scratch), SEVENTEEN[:4], compact=False, segment_bytes=1)[1:]
        sizes = ", ".join(f"{header_bytes(path).size:,} of {path.stat().st_size:,}" for path in later)
        print(f"each later segment of a run that rotates: {sizes} bytes")


if __name__ == "__main__":
    main()
