"""Fast-ingest batch publishing (nats-server 2.14): messages that the stream acks some at a time. Pure.

A batch is in the reply subjects alone: `INBOX.BATCH.FLOW.GAP.NUMBER.OPERATION.$FI` (ADR-50). Gaps are allowed: what was
lost on its way no watermark covers, and a gateway publishes it again. A batch lasts until the servers end it, as they
do at an election or after 10 s of silence; the next message then begins another one.
"""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

# An ack after so many messages, more often where the servers want to slow a publisher down.
FLOW = 16
# Servers forget a batch after 10 s without a message. It is not waited for that: one they forgot would be lost.
_SILENT_S = 4.0
# A stream takes 50 batches at once. A gateway that is one too many publishes without for a while.
_PAUSE_S = 60.0
_TOO_MANY = frozenset({10205, 10210, 10211})


class Operation(IntEnum):
    """What a message does to its batch."""

    START = 0
    ADD = 1


class Answer(NamedTuple):
    """What a message on the inbox means.

    Attributes:
        acked: messages that the stream took since the last answer.
        refused: why it did not take one; empty if it did.
    """

    acked: int = 0
    refused: str = ""


class FastIngest:
    """The batches of one publisher, one after the other.

    Args:
        inbox: subject of the answers; those of a batch come to `INBOX.BATCH.>`.
        new_id: makes the name of a batch: letters and digits, 64 at most.
    """

    def __init__(self, inbox: str, new_id: Callable[[], str]) -> None:
        self._inbox = inbox
        self._new_id = new_id
        self._batch = ""
        self._number = self._acked = 0
        self._sent_at = 0.0
        self._paused_until = 0.0

    def reply(self, now: float) -> str | None:
        """Return the reply subject of the next message; None where it is to be published without a batch.

        Args:
            now: time, seconds of any steady clock.
        """
        if now < self._paused_until:
            return None
        if not self._batch or now - self._sent_at > _SILENT_S:
            self._batch, self._number, self._acked = self._new_id(), 0, 0
        operation = Operation.ADD if self._number else Operation.START
        self._number += 1
        self._sent_at = now
        return f"{self._inbox}.{self._batch}.{FLOW}.ok.{self._number}.{operation:d}.$FI"

    def end(self) -> None:
        """Begin another batch with the next message: the connection is another one."""
        self._batch = ""

    def answered(self, subject: str, data: bytes, now: float) -> Answer:
        """Take a message of the inbox.

        Args:
            subject: it came to.
            data: its bytes.
            now: time, as in `reply`.
        """
        if subject.removeprefix(f"{self._inbox}.").partition(".")[0] != self._batch:
            return Answer()  # of a batch that is over
        if not data:
            self.end()
            return Answer(refused="no stream answers")
        answer: dict[str, Any] = json.loads(data)
        error = answer.get("error")
        if answer.get("type") == "ack":
            return self._took(int(answer.get("seq", 0)))
        if error is None:
            if "batch" in answer:  # the servers ended it
                count = int(answer.get("count", 0))
                self.end()
                return self._took(count)
            return Answer()  # a gap: no watermark will cover it
        if answer.get("type") != "err" or error.get("err_code") in _TOO_MANY:
            self.end()
        if error.get("err_code") in _TOO_MANY:
            self._paused_until = now + _PAUSE_S
        return Answer(refused=str(error.get("description", error)))

    def _took(self, number: int) -> Answer:
        acked, self._acked = max(number - self._acked, 0), max(number, self._acked)
        return Answer(acked=acked)
