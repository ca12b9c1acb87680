"""One producer's way to the collector: stream after stream until all is durable, stopped for good, or given up.

Nothing is lost by giving up: the files stay, and a later push sends what is missing.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.errors import TelemetryError
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.header import writer_name
from esper_telemetry.uplink.backlog_rate import BacklogRate
from esper_telemetry.uplink.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.uplink.endpoint import Endpoint
    from esper_telemetry.uplink.spool import Spool

GIVE_UP_S = 600.0
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How records are sent.

    Attributes:
        follow: wait for living writers, and for further ones in the folder.
        keep_local: keep files that are durable at the collector.
        give_up_s: seconds without progress, once no writer lives, after which the rest is left to a later push.
        compact: rewrite the files into full frames, once all of them are durable at the collector.
    """

    follow: bool = False
    keep_local: bool = True
    give_up_s: float = GIVE_UP_S
    compact: bool = False


@dataclass(slots=True)
class Report:
    """What came of one producer.

    Attributes:
        name: run, rank and producer, for people.
        durable_seq: everything up to it is durable at the collector.
        error: why it is not complete; empty if it is.
        skipped: ranges that could not be sent → SkipReason.
        damages: what could not be read, as sentences.
        frames: frames sent, repeated ones included.
        bytes: their bytes.
    """

    name: str
    durable_seq: int = 0
    error: str = ""
    skipped: dict[tuple[int, int], int] = field(default_factory=dict)
    damages: list[str] = field(default_factory=list)
    frames: int = 0
    bytes: int = 0


class Delivery:
    """Delivers one producer's frames.

    Args:
        spool: its segments.
        endpoint: where to.
        options: how.
        log: takes a line for people.
    """

    def __init__(self, spool: Spool, endpoint: Endpoint, options: PushOptions, log: Callable[[str], None]) -> None:
        self._spool = spool
        self._endpoint = endpoint
        self._options = options
        self._log = log
        header = spool.header
        self._report = Report(f"{header.run_id} rank {header.rank} ({header.producer_id.hex()[:8]})")
        self._session = Session(
            spool,
            rng=random.SystemRandom().random,
            pace=BacklogRate() if options.follow else None,
            client=writer_name(),
        )
        self._progress_at = self._released_at = time.monotonic()
        self._state = ""

    async def run(self) -> Report:
        """Send until all is durable, or there is no point in going on."""
        from esper_telemetry.uplink.client import run_stream  # grpc: only where something is sent

        session, report = self._session, self._report
        try:
            while not (session.finished or session.stopped or self._must_give_up()):
                pause = session.retry_at - time.monotonic()
                if pause > 0:
                    await asyncio.sleep(min(pause, _LOOK_S))
                else:
                    await run_stream(session, self._endpoint, self._on_progress)
                    self._tell_end()
        except TelemetryError as error:
            report.error = str(error)
        finally:
            self._finish()
        await self._compact()
        return report

    def _on_progress(self) -> None:
        session, now = self._session, time.monotonic()
        if session.durable_seq != self._report.durable_seq:
            self._report.durable_seq = session.durable_seq
            self._progress_at = now
        if session.connected:
            self._tell("connected", f"connected to {self._endpoint.address}; durable up to {session.durable_seq:,}")
        if now - self._released_at >= _LOOK_S:
            self._released_at = now
            self._release()

    def _release(self) -> None:
        if not self._options.keep_local and self._session.promised:
            for path in self._spool.release(self._session.durable_seq, self._session.tally.skipped):
                self._log(f"{self._report.name}: removed {path.name}, which the collector keeps")

    def _must_give_up(self) -> bool:
        now = time.monotonic()
        if self._options.follow and self._spool.writer_lives():
            self._progress_at = now
        if max(now, self._session.retry_at) - self._progress_at < self._options.give_up_s:
            return False  # the next try comes in time
        ending, waited = self._session.ending, now - self._progress_at
        if ending is not None and ending.code == "UNAUTHENTICATED":
            self._report.error = f"refused ({ending}); nothing is lost: correct that and push the folder again"
        else:
            self._report.error = (
                f"given up after {waited:.1f} s without progress ({ending}); nothing is lost: push the folder again"
                " when the collector is back"
            )
        return True

    def _finish(self) -> None:
        session, report = self._session, self._report
        report.error = report.error or session.stopped
        report.durable_seq = session.durable_seq
        report.skipped = session.tally.skipped
        report.damages = self._spool.damages
        report.frames, report.bytes = session.tally.frames, session.tally.bytes
        if session.finished:
            self._release()
        self._spool.close()
        self._log(f"{report.name}: {report.error or 'complete'}; durable up to {report.durable_seq:,}")

    async def _compact(self) -> None:
        """Make the files smaller that nobody writes and nobody sends any more."""
        if not (self._options.compact and self._session.finished and self._session.promised):
            return
        for path in self._spool.paths:
            done = await asyncio.to_thread(compact_file, path)
            if not done.kept:
                self._log(f"{self._report.name}: {path.name} takes {done.after:,} bytes now, of {done.before:,}")

    def _tell_end(self) -> None:
        if not (self._session.finished or self._session.stopped):
            ending = self._session.ending
            self._tell(ending.code if ending else "", f"{ending}; trying again, nothing is lost")

    def _tell(self, state: str, text: str) -> None:
        """Say `text`, once for as long as the state is the same: a log does not fill while a collector is away."""
        if state != self._state:
            self._state = state
            self._log(f"{self._report.name}: {text}")
