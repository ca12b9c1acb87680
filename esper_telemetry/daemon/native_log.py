"""What C libraries print on stderr, as lines of the log: gRPC names refused handshakes there and nowhere else.

While it is captured, file descriptor 2 is a pipe that a thread reads, and this process's own handlers write to the
real stderr. A line in the form of Abseil's log goes to the logger `grpc.core` with its level, every other one to
`stderr` as a warning. What a process prints that dies at once may be lost. Lines of children become lines of the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

CORE = "grpc.core"
"""Logger of what gRPC's C core prints."""

_STDERR = 2
_ABSEIL = re.compile(r"(?P<level>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ (?P<place>[^\]]+)\] (?P<text>.*)")
_PREAMBLE = "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR"
_LEVELS = {"I": logging.INFO, "W": logging.WARNING, "E": logging.ERROR, "F": logging.CRITICAL}


@contextlib.contextmanager
def native_log() -> Iterator[None]:
    """Capture what is printed on stderr until the block ends; handlers that wrote there go on writing there."""
    sys.stderr.flush()
    real = os.fdopen(os.dup(_STDERR), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    moved = list(_writers(logging.getLogger().handlers))
    before = [each.setStream(real) for each in moved]
    out, into = os.pipe()
    os.dup2(into, _STDERR)
    os.close(into)
    reader = threading.Thread(target=_read, args=(out,), name="native-log", daemon=True)
    reader.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real.fileno(), _STDERR)  # closes the last end that writes, but for children that live on
        reader.join(timeout=1)
        for handler, stream in zip(moved, before, strict=True):
            handler.setStream(stream or sys.stderr)
        real.close()


def _writers(handlers: Iterable[logging.Handler]) -> Iterator[logging.StreamHandler[Any]]:
    """Yield the handlers that write to stderr itself, not to what replaces it in a test."""
    for handler in handlers:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if isinstance(handler, logging.StreamHandler) and handler.stream.fileno() == _STDERR:
                yield handler


def _read(out: int) -> None:
    with os.fdopen(out, encoding="utf-8", errors="backslashreplace") as lines:
        for line in lines:
            text = line.rstrip()
            if text and text != _PREAMBLE:
                log_line(text)


def log_line(text: str) -> None:
    """Log one line of stderr."""
    found = _ABSEIL.fullmatch(text)
    if found is None:
        logging.getLogger("stderr").warning("%s", text)
    else:
        logging.getLogger(CORE).log(_LEVELS[found["level"]], "%s", found["text"], extra={"place": found["place"]})
