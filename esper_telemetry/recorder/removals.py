"""What a run loses to somebody who takes its files away: counted by type, said once, and told to the next flush.

Events of a file that was moved still exist, but not where the run's record is: they are counted as well. The sink
finds out, and goes on in a new segment; nothing is looked at here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from esper_telemetry.recorder.ledger import RECORD_REMOVED

if TYPE_CHECKING:
    from esper_telemetry.recorder.buffer import Buffer
    from esper_telemetry.sinks import Vanished

_log = logging.getLogger("esper_telemetry")


class Removals:
    """The files of a run that somebody took away."""

    def __init__(self) -> None:
        """Begin with none."""
        self._said = self._news = False

    def count(self, vanished: Vanished, buffer: Buffer) -> None:
        """Count what was in a file, in the account of `buffer`. Writer thread only."""
        buffer.take_back(vanished.events, RECORD_REMOVED)
        self._news = True
        if not self._said:
            self._said = True
            _log.warning(
                "%s was %s while it was being written: %d events are not in the record (said once; they are counted as"
                " record_removed). Recording goes on in a new segment",
                vanished.path,
                vanished.how,
                vanished.events.total(),
            )

    def take_news(self) -> bool:
        """Tell whether a file was found to be gone since the last call."""
        news, self._news = self._news, False
        return news
