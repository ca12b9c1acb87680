"""Messages for viewers, each encoded once however many there are, the last ones kept so that a reconnect loses nothing.

A viewer holds a cursor: the epoch of the ring and the revision that it has. From a cursor inside the ring it gets what
follows; from any other one it starts over with a snapshot ("resync"). So a slow viewer costs no memory, and a server
that was started again is noticed by its epoch.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

# 2 messages a second: half a minute for a laptop that changes its network; more is fetched anew faster than replayed.
_MOST_MESSAGES = 64
_MOST_BYTES = 8 << 20


class Cursor(NamedTuple):
    """What a viewer has seen.

    Attributes:
        epoch: the ring that it saw it in.
        revision: the last message, from 1; 0 before the first.
    """

    epoch: str
    revision: int

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Return the cursor that `str` made, or None where the text is none."""
        epoch, colon, number = text.partition(":")
        return cls(epoch, int(number)) if colon and number.isascii() and number.isdigit() else None

    def __str__(self) -> str:
        return f"{self.epoch}:{self.revision}"


class Message(NamedTuple):
    """One message: its name, the cursor of who has it, and its JSON."""

    name: str
    cursor: Cursor
    body: bytes


class Ring:
    """The last messages of one open run. Any thread may use it.

    Args:
        encode: returns the state that was published last as JSON; called at most once a revision, and only for a
            viewer that needs it, by the thread of that viewer.
        whole: the state before the first message.
    """

    def __init__(self, encode: Callable[[Any], bytes], whole: Any) -> None:
        self._encode = encode
        self._state = whole
        self._lock = threading.Lock()
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._whole: Message | None = None
        self._listeners: dict[int, Callable[[], None]] = {}
        self._next_listener = 0
        self.epoch = secrets.token_hex(4)
        self.revision = 0

    @property
    def viewers(self) -> int:
        """Listeners that there are now."""
        return len(self._listeners)

    def publish(self, body: bytes, whole: Any, *, start_over: bool = False) -> None:
        """Add a message and wake every listener.

        Args:
            body: JSON of what has changed.
            whole: the state with this change in it; it must not be changed any more.
            start_over: the change has nothing to do with what came before: every viewer gets a snapshot next.
        """
        with self._lock:
            self._state = whole
            if start_over:
                self.epoch = secrets.token_hex(4)
                self.revision = 0
                self._messages.clear()
                self._bytes = 0
            self.revision += 1
            self._messages.append(Message("changes", Cursor(self.epoch, self.revision), body))
            self._bytes += len(body)
            while len(self._messages) > _MOST_MESSAGES or (self._bytes > _MOST_BYTES and len(self._messages) > 1):
                self._bytes -= len(self._messages.popleft().body)
            self._whole = None
            listeners = list(self._listeners.values())
        for wake in listeners:
            wake()

    def after(self, cursor: Cursor | None) -> list[Message]:
        """Return what a viewer needs to get from its cursor to the present; nothing where it is there."""
        with self._lock:
            if cursor is not None and cursor.epoch == self.epoch and cursor.revision <= self.revision:
                behind = self.revision - cursor.revision
                if behind <= len(self._messages):
                    return list(self._messages)[len(self._messages) - behind :] if behind else []
            if self._whole is None:
                self._whole = Message("snapshot", Cursor(self.epoch, self.revision), self._encode(self._state))
            return [self._whole]

    def listen(self, wake: Callable[[], None]) -> int:
        """Have `wake` called, by any thread, at every message; return what `leave` takes."""
        with self._lock:
            self._next_listener += 1
            self._listeners[self._next_listener] = wake
            return self._next_listener

    def leave(self, listener: int) -> None:
        """End what `listen` began."""
        with self._lock:
            self._listeners.pop(listener, None)
