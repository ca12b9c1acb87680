"""How long work may take that others wait for: by its own processor time, and by the wall clock.

On a machine that is busy with other things the same work takes ten times as long by the wall clock. Whether it is worth
doing depends on what it costs; how long the others wait is bounded all the same.
"""

from __future__ import annotations

import time


class TimeLimit:
    """A limit that begins now. It counts the thread that made it, and is for that thread alone.

    Args:
        processor_s: seconds of processor time of this thread.
        wall_s: seconds of the wall clock.
    """

    __slots__ = ("_processor", "_processor_s", "_wall", "_wall_s")

    def __init__(self, processor_s: float, wall_s: float) -> None:
        self._processor_s, self._wall_s = processor_s, wall_s
        self._processor, self._wall = time.thread_time(), time.monotonic()

    def spent_s(self) -> float:
        """Return the processor time that was spent, in seconds."""
        return time.thread_time() - self._processor

    def left_s(self) -> float:
        """Return the processor time that is left, in seconds; 0 where either of the two is over."""
        return 0.0 if self.used() >= 1 else self._processor_s - self.spent_s()

    def used(self) -> float:
        """Return which part of the limit is used, by what is scarcer: 1 and more where it is over."""
        pairs = ((self.spent_s(), self._processor_s), (time.monotonic() - self._wall, self._wall_s))
        return max(spent / limit if limit > 0 else 1.0 for spent, limit in pairs)
