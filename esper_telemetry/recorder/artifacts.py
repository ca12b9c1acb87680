"""`run.log_artifact(...)`: a file, bytes or a figure as an ArtifactLogged, with its size and SHA-256.

The disk is read and written by a thread of its own, started with the first artifact, so that no training step waits
for it; only a small file that is to be copied is read in the call, because its owner may remove it right after. What
waits is bounded; an artifact beyond that is counted as lost. At its end a run gives the thread a bounded time; what it
has not come to is recorded without size and hash, with the reason. A fork child has no such thread: there the call does
the work.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import mimetypes
import os
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.errors import SchemaError, SinkError, TelemetryError
from esper_telemetry.recorder.background import Companion
from esper_telemetry.recorder.ledger import BUFFER_FULL
from esper_telemetry.recorder.notices import notify
from esper_telemetry.recorder.storing import Digest, hash_file, open_regular, store
from esper_telemetry.recorder.texts import plain_name, writable
from esper_telemetry.schema import event_type
from esper_telemetry.schema.misfit import as_refusal
from esper_telemetry.v1.logged_pb2 import ArtifactLogged

if TYPE_CHECKING:
    import threading

    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.emitter import Emitter

FOLDER = "artifacts"
# A file of this size is read in 1 ms.
_READ_IN_CALL = 1 << 20
_MOST_WAITING = 1024
_MOST_WAITING_BYTES = 64 << 20
_LATE = "it was not read before the run ended"
_FULL_NAME = ArtifactLogged.DESCRIPTOR.full_name


class Outcome(NamedTuple):
    """What became of an artifact.

    Attributes:
        path: where it is; None if nowhere.
        digest: size and hash; None if it was not read.
        copied: the path is below the run's folder.
        error: why it was not read or copied, or None.
    """

    path: Path | None
    digest: Digest | None = None
    copied: bool = False
    error: str | None = None


class Artifact(NamedTuple):
    """What a call asked for.

    Attributes:
        emitter: has the context of the call.
        name: of the artifact.
        mime: what it is, or None.
        path: the file, absolute; None where there is none.
        content: its bytes, where they are in memory.
        copy: into the folder of the run.
    """

    emitter: Emitter
    name: str
    mime: str | None
    path: Path | None
    content: bytes | None
    copy: bool

    @property
    def file_name(self) -> str:
        """What the name of a copy ends in: with the ending that its readers expect."""
        if self.path is not None:
            return self.path.name
        known = Path(self.name).suffix or self.mime is None
        return self.name if known else self.name + (_known_endings().guess_extension(str(self.mime)) or "")

    def emit(self, outcome: Outcome) -> None:
        """Emit the event; a sink that failed is raised where the trainer calls, not here."""
        path, digest, copied, error = outcome
        with contextlib.suppress(TelemetryError):
            self.emitter.emit(
                ArtifactLogged,
                name=self.name,
                path=writable(path.as_posix() if copied else str(path)) if path is not None else None,
                copied=copied,
                mime=self.mime,
                size_bytes=digest.size if digest is not None else None,
                sha256=digest.sha256 if digest is not None else None,
                error=writable(error) if error is not None else None,
            )


class Artifacts:
    """The artifacts of one run, from the call to the event.

    Args:
        core: of the run; it counts what is refused.
        folder: of the run; None where it has none, and then nothing can be copied.
    """

    name = "reader of artifacts"

    def __init__(self, core: Core, folder: Path | None) -> None:
        self._core = core
        self._folder = folder
        self._pid = os.getpid()
        self._numbers = itertools.count()
        self._unfinished: dict[int, Artifact] = {}  # the thread that takes one out emits it
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        self._companion: Companion | None = None
        core.background.accompany(self)

    def log(self, emitter: Emitter, source: Any, name: Any, mime: str | None, *, copy: bool) -> None:
        """Take an artifact.

        Args:
            emitter: has the context.
            source: path, bytes or figure (anything with `savefig`).
            name: None: that of the file.
            mime: None: by the ending of the file's name, or of `name`.
            copy: into the folder of the run; bytes and figures always are.

        Raises:
            SchemaError: only with strict=True, when `source` or `name` is none.
        """
        if not self._core.wants(event_type(ArtifactLogged)):
            return
        try:
            artifact = _artifact(emitter, source, name, mime, copy=copy)
        except Exception as error:  # noqa: BLE001 - what is no misfit is raised again
            self._core.reject(_FULL_NAME, as_refusal(error))
            return
        if os.getpid() != self._pid:
            artifact.emit(self._finished(artifact))
        elif self.error is not None:
            artifact.emit(Outcome(artifact.path, error="the thread that reads artifacts has died"))
        elif self._is_full():
            self._core.buffer.lose(_FULL_NAME, BUFFER_FULL)
        else:
            self._hand_over(artifact)

    @property
    def error(self) -> BaseException | None:
        """What the thread died of, or None."""
        return self._companion.error if self._companion is not None else None

    def stop(self, timeout: float) -> None:
        """Let the thread finish; what it has not come to after `timeout` seconds is recorded as it is known."""
        if os.getpid() != self._pid:
            return
        if self._companion is not None:
            self._companion.stop(timeout)
        for number in list(self._unfinished):
            artifact = self._unfinished.pop(number, None)
            if artifact is not None:
                artifact.emit(Outcome(artifact.path, error=_LATE))

    def _is_full(self) -> bool:
        waiting = list(self._unfinished.values())
        held = sum(len(artifact.content) for artifact in waiting if artifact.content is not None)
        return len(waiting) >= _MOST_WAITING or held >= _MOST_WAITING_BYTES

    def _hand_over(self, artifact: Artifact) -> None:
        number = next(self._numbers)
        self._unfinished[number] = artifact
        self._queue.put(number)
        if self._companion is None:
            self._companion = Companion(self.name, self._work, ask=lambda: self._queue.put(None))

    def _work(self, _: threading.Event) -> None:
        """Finish one artifact after the other, up to the None that comes behind the last one."""
        for number in iter(self._queue.get, None):
            artifact = self._unfinished.get(number)
            if artifact is None:
                continue
            outcome = self._finished(artifact)
            if self._unfinished.pop(number, None) is not None:
                artifact.emit(outcome)

    def _finished(self, artifact: Artifact) -> Outcome:
        """Read an artifact, copy it if that was asked for, and return what became of it."""
        path, content = artifact.path, artifact.content
        try:
            if not artifact.copy:
                return Outcome(path, hash_file(path)) if path is not None else Outcome(None)
            if self._folder is None:
                return Outcome(path, error="the run has no folder to copy it into")
            source = content if content is not None else path
            durable = self._core.options.sync != "none"
            stored, digest = store(self._folder / FOLDER, artifact.file_name, source or b"", durable=durable)
            return Outcome(stored.relative_to(self._folder), digest, copied=True)
        except (OSError, ValueError, SinkError) as error:  # ValueError: a path that holds a NUL
            notify(logging.WARNING, f"artifact {artifact.name!r} was recorded without its content: {error}")
            self._core.wakeup.set()  # the writer thread writes it to the log
            return Outcome(path, error=str(error))


def _artifact(emitter: Emitter, source: Any, name: Any, mime: str | None, *, copy: bool) -> Artifact:
    """Return what a call asks for.

    Raises:
        SchemaError: `source` is neither path, bytes nor figure, or a figure could not be drawn.
    """
    called = plain_name("an artifact", name) if name is not None else None
    if isinstance(source, (str, os.PathLike)):
        path = _absolute(source)
        called = called or writable(path.name)
        content = _small_content(path) if copy else None
        return Artifact(emitter, called, mime or _guessed(path.name), path, content, copy)
    if isinstance(source, (bytes, bytearray, memoryview)):
        called = called or "artifact"
        return Artifact(emitter, called, mime or _guessed(called), None, bytes(source), copy=True)
    if callable(getattr(source, "savefig", None)):
        return Artifact(emitter, called or "figure", "image/png", None, _drawn(source), copy=True)
    raise SchemaError(f"log_artifact was given a {type(source).__qualname__}; pass a path, bytes or a figure")


@cache
def _known_endings() -> mimetypes.MimeTypes:
    """Return Python's own table: those of systems differ, and some take a .pt for a page table of a game console."""
    return mimetypes.MimeTypes()


def _guessed(name: str) -> str | None:
    return _known_endings().guess_type(name)[0]


def _absolute(source: str | os.PathLike[str]) -> Path:
    path = Path(os.fsdecode(source))
    try:
        return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() asks the disk
    except OSError:  # the working directory is gone
        return path


def _small_content(path: Path) -> bytes | None:
    """Return the bytes of a small file, as they are now; None leaves it to the thread."""
    try:
        with open_regular(path) as file:
            return file.read() if os.fstat(file.fileno()).st_size <= _READ_IN_CALL else None
    except (OSError, ValueError):
        return None  # the thread will find the same, and record it in the event


def _drawn(figure: Any) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return drawn.getvalue()
