"""The messages of one partition as a pull consumer delivers them. It speaks JetStream's protocol and imports no nats.

The client library's own `fetch` returns when as many came as were asked for, or when its time is up: with a
trickle of messages that is its whole time. Here messages are handed out as they come, and more are asked for in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[str, bytes, str], Awaitable[None]]

_ASK = 64
_ASK_S = 1.0
# Nothing came for so long after what was asked for should have: a killed server does not report that it forgot.
_LOST_S = 1.0
# The status without a listener: the pull consumer has no leader just now, or is gone.
_NO_RESPONDERS = "503"
_ABSENT_S = 5.0
_PAUSE_S = 0.2


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
    """The messages of a partition as they come. An acked message does not come again.

    Args:
        send: sends a message: subject, data, where answers go.
        connects: how often the connection was made anew.
        stream: name of the stream.
        consumer: name of the consumer.
        inbox: subject that messages come to.

    Attributes:
        gone: why no message will come any more; empty while some may.
    """

    def __init__(self, send: Send, connects: Callable[[], int], stream: str, consumer: str, inbox: str) -> None:
        self.gone = ""
        self._send = send
        self._connects = connects
        self._connected = connects()
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = inbox
        self._request = json.dumps({"batch": _ASK, "expires": int(_ASK_S * 1e9)}).encode()
        self._came: deque[LogMessage] = deque()
        self._awake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._credit = 0
        self._asked = 0.0
        self._unanswered_since: float | None = None
        self._close: Callable[[], Awaitable[None]] | None = None

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have `close` called at the end."""
        self._close = close

    async def close(self) -> None:
        """Unsubscribe; messages on their way are delivered again to the next puller."""
        if self._close is not None:
            with contextlib.suppress(Exception):  # a connection that is gone hears nothing more either
                await self._close()

    async def heard(self, message: LogMessage) -> None:
        """Take a message or a status."""
        headers = message.headers or {}
        status = headers.get("Status", "") if not message.data else ""
        if status == _NO_RESPONDERS:
            self._unanswered_since = self._unanswered_since or self._loop.time()
            self._credit = 0
        else:
            self._unanswered_since = None
            if not status:
                self._came.append(message)
                self._credit -= 1
            else:  # time is up, or the consumer's leader changes: what was asked for will not come any more
                self._credit = 0
                if "Consumer Deleted" in headers.get("Description", ""):
                    self.gone = "the consumer was deleted: another consumer took the partition"
        self._awake.set()

    async def take(self, wait_s: float) -> list[LogMessage]:
        """Return the messages that are there, after at most `wait_s` seconds; perhaps none.

        Raises:
            SinkError: there is no connection, or the pull is gone.
        """
        if self.gone:
            raise SinkError(self.gone)
        if self._unanswered_since is not None:
            if self._loop.time() - self._unanswered_since > _ABSENT_S:
                self.gone = "there is no such consumer any more"
            await asyncio.sleep(min(wait_s, _PAUSE_S))
        await self._ask()
        if not self._came:
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), wait_s)
        came = list(self._came)
        self._came.clear()
        return came

    async def ack(self, replies: list[str]) -> None:
        """Ack messages; one whose ack is lost comes again and is a duplicate.

        Raises:
            SinkError: there is no connection.
        """
        for reply in replies:
            await self._send(reply, b"+ACK", "")

    async def _ask(self) -> None:
        """Ask for more while some of what was asked for is still to come."""
        now, connected = self._loop.time(), self._connects()
        lost = connected != self._connected or now > self._asked + _ASK_S + _LOST_S
        if lost or self._credit <= _ASK // 2:
            self._credit = _ASK + (0 if lost else max(self._credit, 0))
            self._asked, self._connected = now, connected
            await self._send(self._next, self._request, self._inbox)
