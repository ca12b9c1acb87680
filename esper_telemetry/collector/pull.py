"""The messages of one partition as a pull consumer delivers them. It speaks JetStream's protocol and imports no nats.

The client library's own `fetch` returns when as many came as were asked for, or when its time is up: with a
trickle of messages that is its whole time. Here messages are handed out as they come, and more are asked for in time.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Tell = Callable[[str, bytes, str], Awaitable[None]]

_ASK = 64
_ASK_S = 2.0
# Nothing came for so long after what was asked for should have: the question or its answer was lost.
_LOST_S = 3.0


class LogMessage(Protocol):
    """A message, as the client library gives it."""

    @property
    def data(self) -> bytes:
        """Its bytes."""

    @property
    def reply(self) -> str:
        """Where its ack goes."""

    @property
    def headers(self) -> dict[str, str] | None:
        """Its headers: a status has some, a message of ours none."""


class Pull:
    """The messages of a partition as they come. `ack` says that one need not come again.

    Args:
        tell: sends a message: subject, data, where answers go.
        stream: name of the stream.
        consumer: name of the consumer.
        inbox: subject that messages come to.

    Attributes:
        inbox: as given.
    """

    def __init__(self, tell: Tell, stream: str, consumer: str, inbox: str) -> None:
        self.inbox = inbox
        self._tell = tell
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._request = json.dumps({"batch": _ASK, "expires": int(_ASK_S * 1e9)}).encode()
        self._came: deque[LogMessage] = deque()
        self._awake = asyncio.Event()
        self._credit = 0
        self._asked = 0.0
        self._gone = False

    async def heard(self, message: LogMessage) -> None:
        """Take a message or a status."""
        status = (message.headers or {}).get("Status", "") if not message.data else ""
        if not status:
            self._came.append(message)
            self._credit -= 1
        elif status == "409" and "Deleted" in (message.headers or {}).get("Description", ""):
            self._gone = True
        else:  # 404, 408, 503: what was asked for will not come any more
            self._credit = 0
        self._awake.set()

    async def take(self, wait_s: float) -> list[LogMessage]:
        """Return the messages that are there, after at most `wait_s` seconds; perhaps none.

        Raises:
            SinkError: the consumer is gone, because another recorder took the partition, or there is no connection.
        """
        loop = asyncio.get_running_loop()
        if self._gone:
            raise SinkError("the consumer was deleted: another recorder took the partition")
        if self._credit <= _ASK // 2 or loop.time() > self._asked + _ASK_S + _LOST_S:
            await self._tell(self._next, self._request, self.inbox)
            self._credit = max(self._credit, 0) + _ASK
            self._asked = loop.time()
        if not self._came:
            self._awake.clear()
            try:
                await asyncio.wait_for(self._awake.wait(), wait_s)
            except TimeoutError:
                return []
        came = list(self._came)
        self._came.clear()
        return came

    async def ack(self, replies: list[str]) -> None:
        """Say that messages need not come again; one whose ack is lost comes again and is a duplicate.

        Raises:
            SinkError: there is no connection.
        """
        for reply in replies:
            await self._tell(reply, b"+ACK", "")
