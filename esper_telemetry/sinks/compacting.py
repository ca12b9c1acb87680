"""The files of a closed run become smaller, in the little time that the end of a run may take.

The small ones first: they are what most runs have, and nothing is begun that would not be finished. What is left is for
`esper-telemetry compact`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName
from esper_telemetry.recordfile.time_limit import TimeLimit
from esper_telemetry.sinks.child import CHILD_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# So much of a record of small frames is rewritten and read back in a second of processor time. Measured: 1.4 MB. A file
# that turns out to be slower is given up after a tenth of a second or two.
_BYTES_PER_S = 1_400_000


def compact_run(folder: Path, paths: Iterable[Path], rank: int, *, processor_s: float, wall_s: float) -> None:
    """Rewrite closed segments of one rank into full frames.

    Args:
        folder: the run folder.
        paths: the segments of the run's own stream.
        rank: whose child processes have streams there as well.
        processor_s: processor time of this thread, in seconds, behind which nothing more is done; nothing is begun that
            would take longer.
        wall_s: the same by the wall clock.
    """
    limit = TimeLimit(processor_s, wall_s)
    sizes = []
    for path in {*paths, *_of_children(folder, rank)}:
        with contextlib.suppress(OSError):
            sizes.append((path.stat().st_size, path))
    for size, path in sorted(sizes):
        if size > limit.left_s() * _BYTES_PER_S:
            return
        compact_file(path, limit=limit)


def _of_children(folder: Path, rank: int) -> Iterable[Path]:
    for path in folder.glob(f"{CHILD_STREAM}-r{rank}-*{SUFFIX}"):
        if SegmentName.parse(path) is not None:
            yield path
