"""Holds the clocks of a run against each other, and says in the log and in the record when they have parted.

The clock may be the program's own: what it does when it is read must not keep events from being written.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from esper_telemetry.v1 import run_pb2

if TYPE_CHECKING:
    from esper_telemetry.recorder.timeline import Parting, Timeline

_log = logging.getLogger("esper_telemetry")
_SECOND = 1_000_000_000


class ClockWatch:
    """Looks at the clocks, in every cycle of the writer thread."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._said = False

    def look(self, timeline: Timeline) -> run_pb2.ClockReanchored | None:
        """Let `timeline` take a new anchor if its clocks have parted; return the event that says so."""
        try:
            parting = timeline.check()
        except Exception as error:  # noqa: BLE001 - the clock is the program's
            if not self._said:
                self._said = True
                _log.warning("the clock of the run cannot be read (said once): %r", error)
            return None
        if parting is None:
            return None
        _log.warning("%s", _in_words(parting))
        return run_pb2.ClockReanchored(
            difference_s=parting.difference_ns / _SECOND,
            expected_unix_nano=parting.expected.unix_nano,
            actual_unix_nano=parting.actual.unix_nano,
            catch_up_s=parting.catch_up_ns / _SECOND,
        )


def _in_words(parting: Parting) -> str:
    seconds = parting.difference_ns / _SECOND
    if seconds > 0:
        return f"the wall clock is {seconds:.1f} s ahead of the monotonic one (a sleep?); times of events follow it"
    return (
        f"the wall clock was set back by {-seconds:.1f} s; times of events do not step back and go on at half their"
        f" speed for {parting.catch_up_ns / _SECOND:.1f} s"
    )
