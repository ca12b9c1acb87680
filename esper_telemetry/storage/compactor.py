"""Compacts sealed segments beside the streams: one at a time, in a process of its own with a low priority.

`python -m esper_telemetry.storage.compactor` reads paths from its standard input and answers each with a JSON line:
where the new file is, or why there is none. The new file is made, read back and compared there. Here it takes the place
of the old one: in the writer thread where the producer is in memory, else while none can be restored. What is durable,
acked or stored stays what it was; a process that is killed leaves a hidden file, which the next compaction removes.

Whatever fails costs one segment its compaction, never the thread: it is logged and counted, and the next one is tried.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from esper_telemetry.recordfile.compaction import Compaction, Rewritten, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.storage.naming import ProducerKey

LOG = logging.getLogger("esper_telemetry.collector")

# A collector that seals now and then keeps no process for it.
_IDLE_S = 30.0
_NICENESS = 10
# A segment of 256 MiB in small frames takes minutes; one that takes longer than this is not worth it.
_LONGEST_S = 600.0
# Segments that are sealed faster than they are compacted stay as they are beyond so many: their list is no leak.
_MOST_WAITING = 4096


class SegmentOwner(Protocol):
    """Who lets a new file take the place of a segment."""

    def replace(self, key: ProducerKey, found: Rewritten) -> None:
        """Let it take its place, soon, or remove it."""

    def tried(self, key: ProducerKey, path: Path, *, failed: bool) -> None:
        """Take the news that files of a producer's run folder came and went, and all are as they were.

        Args:
            key: the producer.
            path: the segment.
            failed: because of an error, not because little would be saved.
        """


class CompactionProgress(NamedTuple):
    """What became of a segment, as it is counted.

    Attributes:
        segments: 1 where a compacted file took its place.
        saved_bytes: what that gave back.
        failed: 1 where an error left it as it was.
    """

    segments: int = 0
    saved_bytes: int = 0
    failed: int = 0


class _Sealed(NamedTuple):
    key: ProducerKey
    path: Path


class SegmentCompactor:
    """The collector's end of it: a thread that waits for the process.

    Args:
        owner: told what came of each segment, in that thread.
        left: returns a segment that an owner has on a list of its own, once nothing waits here; it is asked again when
            the owner has been told of that one. None where there is none.
    """

    def __init__(self, owner: SegmentOwner, left: Callable[[], tuple[ProducerKey, Path] | None] = lambda: None) -> None:
        self._owner = owner
        self._left = left
        self._sealed: queue.SimpleQueue[_Sealed | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopping = False

    def add(self, key: ProducerKey, path: Path) -> None:
        """Have a sealed segment compacted. Any thread may call; it does not wait."""
        if self._stopping:
            return
        if self._sealed.qsize() >= _MOST_WAITING:
            self._give_up(_Sealed(key, path), f"{_MOST_WAITING:,} segments wait before it")
            return
        self._sealed.put(_Sealed(key, path))
        self._start()

    def wake(self) -> None:
        """Have the owner's list looked at. Any thread may call; it does not wait."""
        self._sealed.put(None)
        self._start()

    def stop(self) -> None:
        """End process and thread; what waits stays as it is."""
        with self._starting:
            self._stopping = True
        self._sealed.put(None)
        process = self._process
        if process is not None:
            process.kill()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._stopping:
                return
            thread = threading.Thread(target=self._run, name="collector-compactor", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no thread left; the caller is the one that stores
                LOG.warning("compaction waits: %s; it is tried again with the next segment that is sealed", error)
                return
            self._thread = thread

    def _run(self) -> None:
        while not self._stopping:
            sealed = self._next()
            if sealed is not None and not self._stopping:
                self._compact(sealed)
        self._end()

    def _next(self) -> _Sealed | None:
        """Return a segment; None where there may be one now."""
        try:
            return self._sealed.get_nowait()
        except queue.Empty:
            pass
        try:
            left = self._left()
        except Exception:  # a list that cannot be read must not end the compaction of what comes
            LOG.exception("the segments that wait for their compaction cannot be listed")
            left = None
        if left is not None:
            return _Sealed(*left)
        try:
            return self._sealed.get(timeout=_IDLE_S)
        except queue.Empty:
            self._end()
            return None

    def _compact(self, sealed: _Sealed) -> None:
        try:
            answer = self._ask(sealed.path)
            if "temporary" in answer:
                self._owner.replace(sealed.key, _rewritten(answer))
            elif "failed" in answer:
                self._give_up(sealed, str(answer["failed"]))
            else:
                LOG.debug("%s: stays as it is: %s", sealed.path, answer["kept"])
                self._owner.tried(sealed.key, sealed.path, failed=False)
        except (OSError, ValueError) as error:
            self._end()
            if not self._stopping:
                self._give_up(sealed, f"the process that compacts has ended: {error}")
        except Exception as error:  # one segment must not end the compaction of all others
            LOG.exception("%s: cannot be compacted", sealed.path)
            self._end()
            self._give_up(sealed, f"{type(error).__name__}: {error}")

    def _give_up(self, sealed: _Sealed, why: str) -> None:
        LOG.warning("%s: stays as it is: %s", sealed.path, why)
        try:
            self._owner.tried(sealed.key, sealed.path, failed=True)
        except Exception:  # as above
            LOG.exception("%s: cannot be told of", sealed.path)

    def _ask(self, path: Path) -> dict[str, object]:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-c", _BOOTSTRAP, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C for the collector is not for it
            )
        if self._stopping:  # `stop` may have looked for the process before it was there
            process.kill()
        assert process.stdin is not None  # noqa: S101 - it has pipes
        assert process.stdout is not None  # noqa: S101 - it has pipes
        late = threading.Timer(_LONGEST_S, process.kill)
        late.daemon = True
        late.start()
        try:
            process.stdin.write(os.fsencode(path).hex().encode() + b"\n")
            process.stdin.flush()
            answer: dict[str, object] = json.loads(process.stdout.readline())
            return answer
        finally:
            late.cancel()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError):
                process.communicate()


def _rewritten(answer: dict[str, object]) -> Rewritten:
    done = dict(answer["done"])  # type: ignore[call-overload]  # as `_document` made it
    path = Path(done.pop("path"))
    frames = tuple(done.pop("frames"))
    stamp: tuple[int, int, int, int] = tuple(answer["stamp"])  # type: ignore[assignment,arg-type]
    return Rewritten(path, Path(str(answer["temporary"])), stamp, Compaction(path, frames=frames, **done))


def _document(found: Rewritten | Compaction) -> dict[str, object]:
    if isinstance(found, Compaction):
        return {"kept": found.kept}
    done = {**asdict(found.done), "path": str(found.path)}
    return {"temporary": str(found.temporary), "stamp": found.stamp, "done": done}


# The process finds this package where the collector found it.
_BOOTSTRAP = (
    "import sys; sys.path[:] = sys.argv[1:]; from esper_telemetry.storage.compactor import serve;"
    " serve(sys.stdin.buffer, open(1, 'wb', 0))"
)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Rewrite one segment after another until the other end is closed; `answers` is not buffered."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    for line in requests:
        path = Path(os.fsdecode(bytes.fromhex(line.decode())))
        try:
            answer = _document(rewrite(path))
        except Exception as error:  # noqa: BLE001 - whatever a segment does to it, it is stored and stays as it is
            answer = {"failed": f"{type(error).__name__}: {error}"}
        try:
            answers.write(json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:  # the collector was killed
            return
