"""Refusals of the protocol: one exception, one table from reason to gRPC status.

Pure: names of statuses, no grpc. The table is the one of collector.proto at RefusalReason.
"""

from __future__ import annotations

from esper_telemetry.errors import TelemetryError
from esper_telemetry.v1 import collector_pb2

_PREFIX = "REFUSAL_REASON_"
# A status with all its metadata has to fit into 8 KiB; a letter may travel as 12.
_LONGEST_MESSAGE = 500

STATUS = {
    "FENCED": "ABORTED",
    "PROTOCOL": "FAILED_PRECONDITION",
    "SCHEMA_UNKNOWN": "FAILED_PRECONDITION",
    "SCHEMA_INVALID": "FAILED_PRECONDITION",
    "MESSAGE_ORDER": "INVALID_ARGUMENT",
    "HELLO_TIMEOUT": "DEADLINE_EXCEEDED",
    "IDENTITY": "INVALID_ARGUMENT",
    "NUMBERS": "INVALID_ARGUMENT",
    "GAP": "OUT_OF_RANGE",
    "CHECKSUM": "DATA_LOSS",
    "FRAME_INVALID": "INVALID_ARGUMENT",
    "TOO_BIG": "RESOURCE_EXHAUSTED",
    "QUOTA": "RESOURCE_EXHAUSTED",
    "TOKEN": "UNAUTHENTICATED",
    "FORBIDDEN": "PERMISSION_DENIED",
    "STORAGE": "UNAVAILABLE",
    "DRAINING": "UNAVAILABLE",
    "IDLE": "DEADLINE_EXCEEDED",
    "PRODUCER_TAKEN": "ALREADY_EXISTS",
    "NO_RUN": "NOT_FOUND",
    "STREAMS": "RESOURCE_EXHAUSTED",
    "MALFORMED": "INVALID_ARGUMENT",
    "ELSEWHERE": "UNIMPLEMENTED",
    "BUSY": "FAILED_PRECONDITION",
}


class Refused(TelemetryError):  # noqa: N818 - an answer of the protocol, named as the protocol names it
    """A call that the collector does not go on with.

    Args:
        reason: a RefusalReason without its prefix, e.g. "GAP".
        message: the value that offends and the next step; it is cut where it is too long for a status, and becomes
            one printable line, for a client chooses parts of it and logs hold it.
        retry_after_ms: when to come back, milliseconds; 0 where waiting does not help.
        expected_seq: the number that was to come; 0 where numbers are not the matter.

    Attributes:
        reason: as given.
        status: name of the gRPC status.
        message: as above.
        retry_after_ms: as given.
        expected_seq: as given.
    """

    def __init__(self, reason: str, message: str, *, retry_after_ms: int = 0, expected_seq: int = 0) -> None:
        message = one_line(message)
        super().__init__(message)
        self.reason = reason
        self.status = STATUS[reason]
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.expected_seq = expected_seq

    def to_proto(self) -> collector_pb2.Refusal:
        """Return what travels in the trailing metadata."""
        return collector_pb2.Refusal(
            reason=_PREFIX + self.reason,
            retry_after_ms=self.retry_after_ms,
            expected_seq=self.expected_seq,
        )


def one_line(text: str) -> str:
    """Return a text that a stranger chose a part of as one printable line of bounded length."""
    cut = text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)
