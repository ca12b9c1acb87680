"""What the end of a stream means for a client: whether and when to connect again, and which frame to give up.

Pure: randomness and time are arguments. The statuses are those of the protocol's table.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.recordfile.layout import SkipReason
from esper_telemetry.v1.collector_pb2 import (
    REFUSAL_REASON_FENCED,
    REFUSAL_REASON_FRAME_INVALID,
    REFUSAL_REASON_UNSPECIFIED,
    RefusalReason,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# A frame that failed its check so often is given up; a client that gave up so many frames is wrong itself, and stops.
STRIKES = 3
MAX_GIVEN_UP = 16


class Action(enum.Enum):
    """What a client does after a stream ended. None of these deletes anything."""

    BACK_OFF = "come back with a new Hello after a growing, random pause"
    WAIT = "come back after the time the collector gave"
    TOKEN = "read the token again, then once a minute"  # noqa: S105 - words, not a secret
    DOUBT = "find the frame that was meant, and give it up if it fails again"
    STOP = "stop sending, keep the spool, report why"


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended.

    Attributes:
        code: name of the gRPC status, such as "UNAVAILABLE"; "OK" for the ordinary end.
        details: its text.
        reason: a RefusalReason.
        retry_after: seconds that the collector asked to wait; None if it did not.
    """

    code: str
    details: str = ""
    reason: int = REFUSAL_REASON_UNSPECIFIED
    retry_after: float | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        reason = RefusalReason.Name(self.reason) if self.reason in RefusalReason.values() and self.reason else ""
        short = f" ({reason.removeprefix('REFUSAL_REASON_').lower()})" if reason else ""
        return f"{self.code}{short}: {self.details}" if self.details else f"{self.code}{short}"


_TABLE = {
    "OK": Action.BACK_OFF,
    "UNAVAILABLE": Action.BACK_OFF,
    "ABORTED": Action.BACK_OFF,
    "CANCELLED": Action.BACK_OFF,
    "DEADLINE_EXCEEDED": Action.BACK_OFF,
    "UNKNOWN": Action.BACK_OFF,  # "Stream removed", and whatever broke on the way
    "INTERNAL": Action.BACK_OFF,
    "RESOURCE_EXHAUSTED": Action.DOUBT,
    "DATA_LOSS": Action.DOUBT,
    "OUT_OF_RANGE": Action.BACK_OFF,
    "UNAUTHENTICATED": Action.TOKEN,
    "FAILED_PRECONDITION": Action.STOP,
    "PERMISSION_DENIED": Action.STOP,
    "INVALID_ARGUMENT": Action.STOP,
    "ALREADY_EXISTS": Action.STOP,
    "UNIMPLEMENTED": Action.STOP,  # something else listens there
    "NOT_FOUND": Action.STOP,
}


def judge(ending: StreamEnd) -> Action:
    """Return what to do; a status that the table does not know is one to come back from."""
    if ending.reason == REFUSAL_REASON_FENCED:
        return Action.STOP
    if ending.reason == REFUSAL_REASON_FRAME_INVALID:
        return Action.DOUBT  # a frame that rotted on this disk: it alone is given up
    if ending.code == "RESOURCE_EXHAUSTED" and ending.retry_after is not None:
        return Action.WAIT
    return _TABLE.get(ending.code, Action.BACK_OFF)


@dataclass(frozen=True, slots=True)
class ProtocolTimes:
    """Times of the protocol, in seconds.

    Attributes:
        heartbeat: idle time before a heartbeat; the Welcome replaces it.
        heartbeats_missed: the peer is dead after so many.
        backoff_first: longest first pause.
        backoff_last: longest pause.
        token_retry: pause after the token was refused twice.
    """

    heartbeat: float = 10.0
    heartbeats_missed: int = 3
    backoff_first: float = 0.1
    backoff_last: float = 10.0
    token_retry: float = 60.0


class Backoff:
    """Pauses with full jitter: uniform in [0, first * 2**failures), at most `backoff_last`.

    Args:
        timing: times of the protocol.
        rng: returns a random number in [0, 1).
    """

    def __init__(self, timing: ProtocolTimes, rng: Callable[[], float]) -> None:
        self._timing = timing
        self._rng = rng
        self._failures = 0
        self._refused = False

    def succeeded(self) -> None:
        """Start again with short pauses: there was progress."""
        self._failures = 0

    def pause(self, action: Action, ending: StreamEnd) -> float:
        """Return the seconds to wait after a stream that ended so."""
        refused, self._refused = self._refused, action is Action.TOKEN
        if refused and self._refused:
            return self._timing.token_retry
        longest = min(self._timing.backoff_last, self._timing.backoff_first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return max(self._rng() * longest, ending.retry_after or 0.0)


class Doubts:
    """Finds the frame that a collector refuses for what it is.

    With many frames under way it is unknown which was meant. After the first refusal frames
    go one at a time, up to the last one that had been sent; the one under way is then the culprit.

    Attributes:
        given_up: first number of a frame → why it will not be sent.
    """

    def __init__(self) -> None:
        self._careful_until = 0
        self._strikes: Counter[int] = Counter()
        self.given_up: dict[int, SkipReason] = {}

    def careful(self, accepted_seq: int) -> bool:
        """Tell whether frames go one at a time now."""
        return accepted_seq < self._careful_until

    def refused(self, code: str, under_way: list[int], sent_seq: int) -> bool:
        """Record a refusal; return False when there is no point in going on.

        Args:
            code: name of the status.
            under_way: first numbers of the frames sent and not accepted.
            sent_seq: last number that was ever sent.
        """
        if len(under_way) > 1:
            self._careful_until = max(self._careful_until, sent_seq)
            return True
        culprit = under_way[0] if under_way else 0
        self._strikes[culprit] += 1
        too_big = code == "RESOURCE_EXHAUSTED"
        if culprit and (too_big or self._strikes[culprit] >= STRIKES):
            self.given_up[culprit] = SkipReason.TOO_BIG if too_big else SkipReason.CORRUPT
        return len(self.given_up) < MAX_GIVEN_UP and self._strikes[0] < STRIKES
