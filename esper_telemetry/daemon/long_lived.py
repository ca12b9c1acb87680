"""Short pauses of Python's garbage collector in a process that has a million objects for days.

A full collection looks at every object there is. With 5,000 streams it takes half a second of processor, in which no
stream is served and no probe answered, and while streams are opened it comes again and again: a third of the time that
connecting took. So what lives long is set aside (`gc.freeze`), where only reference counts end it. It is looked at
again after as many streams have ended as are open, or when it is more than open streams need: what was left in cycles
is freed then.

This changes the whole process: it is for the long-running verbs, never for a collector inside another program.
"""

from __future__ import annotations

import gc
import sys

# So many streams more make a collection of what is not set aside noticeable.
_OPENED = 250
# Below it a full collection is short, and may come as it likes.
_LEAST_ENDED = 1000
# Messages replace a few objects of each stream, which grow old beside what was set aside.
_AGAIN_S = 30.0
# Blocks of memory of the program itself (400,000) and of a stream (200), with room: more may be left in cycles. Blocks
# are counted in a millisecond; to count what is set aside takes as long as to look at it.
_PROGRAM, _A_STREAM = 2_000_000, 1000


class LongLived:
    """Decides when objects are set aside, and when all are looked at.

    Attributes:
        collections: how often all were looked at.
    """

    def __init__(self) -> None:
        self.collections = 0
        self._opened = self._ended = 0
        self._most = _PROGRAM
        self._at = 0.0

    def look(self, opened: int, ended: int, now: float) -> None:
        """Set aside what lives long, where that is due; call it every second or so.

        Args:
            opened: streams that were opened since the start.
            ended: of those, the ones that have ended.
            now: a steady clock, seconds.
        """
        if ended - self._ended >= max(_LEAST_ENDED, opened - ended):
            self._look_at_all(ended)
        elif opened - self._opened >= _OPENED or now - self._at >= _AGAIN_S:
            gc.collect(1)  # what is garbage now would be set aside, too
            gc.freeze()
            if sys.getallocatedblocks() > max(self._most, _PROGRAM + _A_STREAM * (opened - ended)):
                self._look_at_all(ended)
        else:
            return
        self._opened, self._at = opened, now

    def _look_at_all(self, ended: int) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.collections += 1
        self._ended = ended
        self._most = 2 * sys.getallocatedblocks()  # what is needed after all is not looked at again and again
