"""What the end of a stream means for a client: the status table of the protocol, as a table."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from esper_telemetry.v1.collector_pb2 import (
    REFUSAL_REASON_FENCED,
    REFUSAL_REASON_FRAME_INVALID,
    REFUSAL_REASON_UNSPECIFIED,
    RefusalReason,
)


class Action(enum.Enum):
    """What a client does after a stream ended. None of these deletes anything."""

    BACK_OFF = "come back with a new Hello after a growing, random pause"
    WAIT = "come back after the time the collector gave"
    TOKEN = "read the token again, then once a minute"  # noqa: S105 - words, not a secret
    DOUBT = "find the frame that was meant, and give it up if it fails again"
    STOP = "stop sending, keep the spool, say why"


@dataclass(frozen=True, slots=True)
class Ending:
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


def judge(ending: Ending) -> Action:
    """Return what to do; a status that the table does not know is one to come back from."""
    if ending.reason == REFUSAL_REASON_FENCED:
        return Action.STOP
    if ending.reason == REFUSAL_REASON_FRAME_INVALID:
        return Action.DOUBT  # a frame that rotted on this disk: it alone is given up
    if ending.code == "RESOURCE_EXHAUSTED" and ending.retry_after is not None:
        return Action.WAIT
    return _TABLE.get(ending.code, Action.BACK_OFF)
