"""The files of a closed run become smaller, in the little time that the end of a run may take.

The small ones first: they are what most runs have, and nothing is begun that would not be finished. What is left is for
`esper-telemetry compact`.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName
from esper_telemetry.sinks.child import CHILD_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# A slow machine rewrites so much of a record of small frames in a second, reading it back included.
_BYTES_PER_S = 400_000


def compact_run(folder: Path, paths: Iterable[Path], rank: int, seconds: float) -> None:
    """Rewrite closed segments of one rank into full frames.

    Args:
        folder: the run folder.
        paths: the segments of the run's own stream.
        rank: whose child processes have streams there as well.
        seconds: after which nothing more is done.
    """
    deadline = time.monotonic() + seconds
    sizes = []
    for path in {*paths, *_of_children(folder, rank)}:
        with contextlib.suppress(OSError):
            sizes.append((path.stat().st_size, path))
    for size, path in sorted(sizes):
        if size > (deadline - time.monotonic()) * _BYTES_PER_S:
            return
        compact_file(path, deadline=deadline)


def _of_children(folder: Path, rank: int) -> Iterable[Path]:
    for path in folder.glob(f"{CHILD_STREAM}-r{rank}-*{SUFFIX}"):
        if SegmentName.parse(path) is not None:
            yield path
