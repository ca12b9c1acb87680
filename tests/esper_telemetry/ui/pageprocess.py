"""The page as people run it: `esper-telemetry ui` in a process of its own, and a reader of its stream of changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx

from esper_telemetry.ui.changes import apply

if TYPE_CHECKING:
    from collections.abc import Iterator


class PageProcess:
    """A page in a process of its own.

    Args:
        place: what to show.
        options: further arguments of `esper-telemetry ui`.
        port: where it listens; 0 takes a free one.

    Attributes:
        address: what it printed.
        port: where it listens.
    """

    def __init__(self, place: object, *options: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "esper_telemetry", "ui", str(place), "--no-open"]
        self._process = subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{port}", *options], stderr=subprocess.PIPE, text=True
        )
        line = self._process.stderr.readline()
        assert " at http://" in line, line + self._process.stderr.read()
        self.address = line.split(" at ")[1].split(" ")[0]
        self.port = int(httpx.URL(self.address).port)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60, **options)

    def tell(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it as an operator does; return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(timeout=30)
        finally:
            self._process.stderr.close()

    def kill(self) -> None:
        self._process.kill()
        self.stop()


class ChangeReader:
    """What a browser does with the stream of one run: it keeps its panels in step.

    Attributes:
        panels: as they are now.
        state: of the run.
        cursor: of the last message.
        names: names of the messages so far.
    """

    def __init__(self) -> None:
        self.panels: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.cursor = ""
        self.names: list[str] = []

    def read(self, address: str, key: str, until, seconds: float = 60.0) -> ChangeReader:
        """Read on from the cursor until `until(self)` holds; fail if it never does."""
        deadline = time.monotonic() + seconds
        headers = {"last-event-id": self.cursor} if self.cursor else {}
        with httpx.stream("GET", f"{address}/api/stream", params={"run": key}, headers=headers, timeout=30) as answer:
            assert answer.status_code == 200, answer.read()
            for name, cursor, data in events(lines_of(answer)):
                self.take(name, cursor, data)
                if self.state and until(self):
                    return self
                assert time.monotonic() < deadline, f"it never came true: {self.state}"
        raise AssertionError("the stream ended before it came true")

    def take(self, name: str, cursor: str, data: str) -> None:
        self.names.append(name)
        self.cursor = cursor or self.cursor
        if name == "bye":
            return
        body = json.loads(data)["body"]
        if name == "snapshot":
            self.panels = body["panels"]
        for panel, operations in body["panels"] if name == "changes" else ():
            self.panels[panel] = apply(self.panels.get(panel), operations)
        self.state = body["state"] or self.state


def lines_of(answer: httpx.Response) -> Iterator[str]:
    """Yield the lines of a stream; unlike `iter_lines`, it takes no character of a text for the end of one."""
    rest = b""
    for piece in answer.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    """Parse server-sent events: name, identifier, data."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield fields.get("event", "message"), fields.get("id", ""), fields["data"]
            fields = {}


def points(panel: dict[str, Any], title: str) -> list[list[Any]]:
    """Return the points of the only line of a figure."""
    (figure,) = [figure for figure in panel["figures"] if figure["title"] == title]
    (line,) = figure["lines"]
    return line["points"]
