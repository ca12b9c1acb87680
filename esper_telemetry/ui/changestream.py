"""The stream of changes to one browser, as server-sent events: every message of its runs from its cursor on.

The identifier of an event holds the cursors of all runs of the stream, so that a browser that connects again gets
exactly what it misses, or a snapshot. A slow browser is waited for, and starts over where it fell out of the ring.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from esper_telemetry.ui.ring import Cursor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from esper_telemetry.ui.runfold import RunFold

# How often a browser hears how old the last event is; it takes silence of 5 s for a broken connection.
_STATE_S = 1.0
_RETRY_MS = 1000
_NONE = "-"


@dataclass(slots=True)
class Channel:
    """A run in a stream.

    Attributes:
        key: what the page calls it.
        fold: the run.
        cursor: what the browser has of it; None for nothing.
    """

    key: str
    fold: RunFold
    cursor: Cursor | None

    @classmethod
    def several(cls, keys: Sequence[str], folds: Sequence[RunFold], cursors: str) -> list[Channel]:
        """Return the runs of a stream.

        Args:
            keys: what the page calls them.
            folds: the runs.
            cursors: identifier of the last event that the browser has; anything else is a browser that has nothing.
        """
        texts = cursors.split(",")
        known = [Cursor.parse(text) for text in texts] if len(texts) == len(keys) else [None] * len(keys)
        return [cls(key, fold, cursor) for key, fold, cursor in zip(keys, folds, known, strict=True)]


async def follow(channels: Sequence[Channel], stopping: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield server-sent events until the browser leaves or the server stops."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server is gone, and its streams with it
            loop.call_soon_threadsafe(news.set)

    listeners = [channel.fold.ring.listen(wake) for channel in channels]
    try:
        yield f"retry: {_RETRY_MS}\n\n".encode()
        while not stopping():
            news.clear()
            sent = False
            for channel in channels:
                for message in await run_in_threadpool(channel.fold.ring.after, channel.cursor):
                    channel.cursor = message.cursor
                    yield _event(message.name, channel.key, message.body, channels)
                    sent = True
            if sent:
                continue
            try:
                await asyncio.wait_for(news.wait(), _STATE_S)
            except TimeoutError:
                for channel in channels:
                    state = await run_in_threadpool(channel.fold.state)
                    yield _event("state", channel.key, json.dumps({"state": state}).encode(), None)
        yield b"event: bye\ndata: {}\n\n"
    finally:
        for channel, listener in zip(channels, listeners, strict=True):
            channel.fold.ring.leave(listener)


def _event(name: str, key: str, body: bytes, channels: Sequence[Channel] | None) -> bytes:
    head = f"event: {name}\n"
    if channels is not None:
        head += f"id: {','.join(str(one.cursor) if one.cursor else _NONE for one in channels)}\n"
    return head.encode() + b'data: {"run":' + json.dumps(key).encode() + b',"body":' + body + b"}\n\n"
