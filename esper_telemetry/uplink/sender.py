"""Sends the records of a folder: what there is now (`push`), or a run as it is written (`push --follow`).

A folder has one follower, which holds a lock on the folder's `agent.log`; all producers (ranks) in it are
its business. It outlives the trainer, drains, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError, NotARecordError, RecordError, UnsupportedRecordError
from esper_telemetry.recordfile import list_run, look_into
from esper_telemetry.recordfile.lock import try_lock, writer_gone
from esper_telemetry.uplink.delivery import Delivery, Report
from esper_telemetry.uplink.spool import Spool, SpoolSegment, find_segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from esper_telemetry.uplink.delivery import PushOptions
    from esper_telemetry.uplink.endpoint import Endpoint

LOG_NAME = "agent.log"
_LOOK_S = 1.0


class Push:
    """The delivery of everything below some paths.

    Args:
        paths: record files and run folders.
        endpoint: where to.
        options: how.
        log: takes a line for people.

    Attributes:
        reports: what came of each producer that is done.
    """

    def __init__(
        self, paths: Sequence[Path], endpoint: Endpoint, options: PushOptions, log: Callable[[str], None]
    ) -> None:
        self._paths = list(paths)
        self._endpoint = endpoint
        self._options = options
        self._log = log
        self._seen: set[Path] = set()
        self._producers: set[tuple[str, bytes]] = set()
        self._found: list[Spool] = []
        self.reports: list[Report] = []

    async def run(self) -> list[Report]:
        """Deliver; with `follow`, until no writer is left and nothing more is to be sent.

        Raises:
            NotARecordError: a path does not exist, or holds no record.
        """
        deliveries: set[asyncio.Task[Report]] = set()
        while self.look() or deliveries:
            for spool in self._found:
                delivery = Delivery(spool, self._endpoint, self._options, self._log)
                deliveries.add(asyncio.create_task(delivery.run()))
            self._found = []
            done, deliveries = await asyncio.wait(deliveries, timeout=_LOOK_S if self._options.follow else None)
            self.reports += [task.result() for task in done]
        return self.reports

    def look(self) -> bool:
        """Look for producers that were not there before; return whether there are any whose delivery has not begun.

        Raises:
            NotARecordError: a path does not exist, or holds no record.
        """
        places: dict[tuple[str, bytes], list[SpoolSegment]] = {}
        for path in self._list():
            for place in self._read(path):
                if place.producer not in self._producers:
                    places.setdefault(place.producer, []).append(place)
        self._producers |= places.keys()
        self._found += [Spool(segments, follow=self._options.follow) for segments in places.values()]
        return bool(self._found)

    def _read(self, path: Path) -> list[SpoolSegment]:
        if path in self._seen:
            return []
        try:
            places = find_segments(path)
        except RecordError as error:
            if self._paths == [path] and isinstance(error, (NotARecordError, UnsupportedRecordError)):
                raise
            self._note_unreadable(path, str(error))
            return []
        self._seen.add(path)
        return places

    def _list(self) -> Iterator[Path]:
        for path in self._paths:
            if path.is_dir():
                for bad in look_into(path).passed_over:
                    self._note_unreadable(bad.path, str(bad))
            try:
                yield from list_run(path)
            except NotARecordError:  # everything was delivered and removed meanwhile
                if not self._producers:
                    raise

    def _note_unreadable(self, path: Path, reason: str) -> None:
        """Report a file that is no record or has no header, once; one that is just being opened is looked at again."""
        if path not in self._seen and not (self._options.follow and self._is_written(path)):
            self._seen.add(path)
            self.reports.append(Report(path.name, damages=[reason]))

    def _is_written(self, path: Path) -> bool:
        try:
            return path.is_file() and not writer_gone(path)
        except OSError:
            return False


def push(paths: Sequence[Path], endpoint: Endpoint, options: PushOptions, log: Callable[[str], None]) -> list[Report]:
    """Send what `paths` hold now.

    Raises:
        ConfigError: an agent follows one of the folders already, or token or certificates cannot be read.
        NotARecordError: a path does not exist, or holds no record.
        UnsupportedRecordError: the only path is a file of a newer format, or one that `filter` wrote.
    """
    endpoint.check_files()
    folders = {path if path.is_dir() else path.parent for path in paths}
    with contextlib.ExitStack() as stack:
        for folder in sorted(folders):
            log_file = folder / LOG_NAME
            if log_file.exists() and not stack.enter_context(_locked(log_file)):
                raise ConfigError(
                    f"{folder} is being sent by an agent already ({log_file} shows its state); stop it, or let it work"
                )
        return asyncio.run(Push(paths, endpoint, options, log).run())


def follow(folder: Path, endpoint: Endpoint, options: PushOptions, log: Callable[[str], None]) -> list[Report] | None:
    """Send a run as it is written, until its writers are gone and all is durable.

    Returns:
        The reports; None if another agent follows the folder.

    A token or certificate that cannot be used now may be replaced while the run goes on: that is logged and retried.

    Raises:
        NotARecordError: the folder does not exist, or holds no record.
    """
    try:
        endpoint.check_files()
    except ConfigError as error:
        log(f"{error}; trying again, nothing is lost")
    work = Push([folder], endpoint, options, log)
    begun = False
    # A rank that starts while the lock is held has its file in the folder before this last look at it.
    while not begun or work.look():
        with _locked(folder / LOG_NAME) as mine:
            if not mine:
                return work.reports or None
            asyncio.run(work.run())
            begun = True
    return work.reports


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a folder; the value is whether it was free."""
    fd = os.open(path, os.O_RDONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        yield try_lock(fd)
    finally:
        os.close(fd)


def remove_spool(folder: Path) -> None:
    """Remove a temporary folder whose segments are all delivered; anything else in it keeps it."""
    if not any(path.name != LOG_NAME for path in folder.iterdir()):
        with contextlib.suppress(OSError):
            (folder / LOG_NAME).unlink(missing_ok=True)
            folder.rmdir()
