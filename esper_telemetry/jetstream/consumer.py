"""The process that consumes the message log: it owns a share of the partitions and stores them in record files.

Its folder is its identity: on whatever machine it runs next, its files are its own. Files are recovered before anything
is taken. A consumer is alive while its heartbeats come; the partitions of a dead one are acquired by the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.daemon.metrics_port import MetricsServer
from esper_telemetry.daemon.supervisor import Supervisor, run_until_signal
from esper_telemetry.errors import SinkError
from esper_telemetry.jetstream.connection import JetStream
from esper_telemetry.jetstream.consumer_metrics import ConsumerMetrics
from esper_telemetry.jetstream.entries import partition_of
from esper_telemetry.jetstream.leases import Lease, LostError, decide, lease_key, lost, share_of
from esper_telemetry.jetstream.partition import Partition
from esper_telemetry.jetstream.producer_state import Watermarks
from esper_telemetry.recordfile.append import sync_folder
from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder
from esper_telemetry.storage.compactor import SegmentCompactor
from esper_telemetry.storage.disk import claim_folder, raise_file_limit, try_storage
from esper_telemetry.storage.engine import CutBack, Cycle, Replace, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover
from esper_telemetry.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from esper_telemetry.jetstream.deployment import ConsumerSettings
    from esper_telemetry.jetstream.producer_state import ProducerState
    from esper_telemetry.jetstream.pull import LogMessage
    from esper_telemetry.recordfile.compaction import Compaction, Rewritten

LOG = logging.getLogger("esper_telemetry.consumer")

_ID_NAME = ".consumer.id"
_ROUND_S = 1.0
# Not heard of for so long: dead. A reconnect after a server's death takes one or two seconds.
_DEAD_S = 5.0
_STOP_S = 10.0


class Consumer:
    """A consumer that can be started and stopped inside a running event loop.

    Args:
        settings: how it runs.

    Attributes:
        id: of its folder.
        log, store, watermarks, metrics, encoder, decoder: what its partitions work with.
        problem: why it stores nothing; empty if it does.
        partitions: those it keeps, by number.
        metrics_port: port of /metrics; 0 where there is none.
        ended: set once it cannot go on; `failure` gives the reason.
        failure: why it cannot go on; empty if it can.
        failures: what fails in the background.
    """

    def __init__(self, settings: ConsumerSettings) -> None:
        self.id = ""
        self.metrics = ConsumerMetrics()
        self.failures = TaskFailures(LOG, self.metrics.task_failures, self.metrics.task_failing)
        self.log = JetStream(settings.log, "esper-telemetry consumer", self.failures)
        self.store = Store(self._hand_over)
        self.encoder, self.decoder = FrameEncoder(3), FrameDecoder()
        self.problem = ""
        self.partitions: dict[int, Partition] = {}
        self.metrics_port = 0
        self.watermarks: Watermarks
        self._settings = settings
        self._files: dict[ProducerKey, ProducerFiles] = {}
        self._compactor = SegmentCompactor(self) if settings.compact else None
        self._barriers: dict[ProducerKey, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)
        self._heard: dict[str, float] = {}
        self._disk_failed = False
        self._disk_problem = self._waiting = ""
        self._loop = asyncio.get_running_loop()
        self._born = self._loop.time()
        self._duties = Supervisor(self.failures, self.fail, self.metrics.task_turns)
        self._undo = contextlib.AsyncExitStack()
        self.ended = asyncio.Event()
        self.failure = ""

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Put the files in order, connect, begin to share.

        Raises:
            ConfigError: the folder is in use, or there is no log to connect to.
            SinkError: the disk refused.
        """
        try:
            await self._start()
        except BaseException:
            await self._undo.aclose()
            raise

    async def _start(self) -> None:
        """Begin piece by piece; `_undo` ends the pieces in the opposite order."""
        directory, undo = self._settings.directory, self._undo
        raise_file_limit()
        lock = await asyncio.to_thread(claim_folder, directory)
        undo.callback(lock.close)
        self.id = await asyncio.to_thread(self._identify)
        await self.log.open()
        undo.push_async_callback(self.log.close)
        self.watermarks = Watermarks(self.log, self.id)
        recovery = await asyncio.to_thread(recover, directory)
        for note in recovery.notes:
            LOG.warning("%s", note)
        self._files = {
            key: ProducerFiles(directory, key, found, rewinds=False) for key, found in recovery.producers.items()
        }
        self.store.start()
        undo.push_async_callback(asyncio.to_thread, self.store.stop, 1.0)
        if self._compactor is not None:
            undo.push_async_callback(asyncio.to_thread, self._compactor.stop)
        await self.put_right(list(self._files))
        await self.log.subscribe(self.log.settings.names.consumers, self._hear)
        if self._settings.metrics:
            metrics_server = MetricsServer(
                self._settings.metrics,
                self.metrics,
                lambda: self.problem,
                self._duties.overdue,
                self.failures.failing,
            )
            undo.push_async_callback(asyncio.to_thread, metrics_server.close)
            self.metrics_port = metrics_server.port
        await self._look()
        self._born = self._loop.time()
        self._duties.every(_ROUND_S, "heartbeat", self._live)
        self._duties.every(_ROUND_S, "leases", self._round)
        self._duties.every(_ROUND_S, "storage", self._look)

    async def stop(self) -> None:
        """Store what was taken and publish its watermarks, release the partitions, seal; at most some seconds."""
        await self._duties.end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._release(list(self.partitions)), _STOP_S)
        await self._undo.aclose()

    def fail(self, why: str) -> None:
        """Store nothing more: something that the consumer cannot go on without has ended."""
        if not self.failure:
            self.failure = self.problem = self._disk_problem = why
            self.metrics.serving.set(0)
            self.ended.set()

    # --- what partitions ask for --------------------------------------------------------------------------------------

    def files_of(self, key: ProducerKey) -> ProducerFiles:
        """Return the files of a producer here, none perhaps."""
        files = self._files.get(key)
        if files is None:
            files = self._files[key] = ProducerFiles(self._settings.directory, key, rewinds=False)
        return files

    def compact(self, key: ProducerKey, path: Path) -> None:
        """Have a sealed segment compacted whose last number a watermark of this consumer covers."""
        if self._compactor is not None:
            self._compactor.add(key, path)

    async def stored_all(self) -> None:
        """Wait until everything that was put so far is stored."""
        key = ProducerKey("barrier", next(self._numbers).to_bytes(16, "big"))
        self._barriers[key] = self._loop.create_future()
        self.store.put(ProducerFiles(self._settings.directory, key), Seal())
        await self._barriers[key]

    async def put_right(self, keys: Iterable[ProducerKey]) -> None:
        """Make sealed files and bucket agree: what no other consumer stored counts, the rest is removed here."""
        for key in keys:
            files = self._files[key]
            limit = await self._agree(files)
            if limit < files.numbers.durable_seq:
                LOG.warning("%s: numbers behind %s are another consumer's; removed here", key.run_id, f"{limit:,}")
                self.store.put(files, CutBack(limit))
        await self.stored_all()

    async def _agree(self, files: ProducerFiles) -> int:
        """Publish what is durable in `files`, if it still counts; return up to which number it does."""
        count = durable_seq = files.numbers.durable_seq

        def more(state: ProducerState) -> ProducerState:
            nonlocal count
            limit = state.limit_of(self.id)
            count = durable_seq if limit is None else min(limit, durable_seq)
            if state.consumer != self.id or state.durable_seq >= durable_seq:
                raise LostError("the watermark does not advance")
            segment, file_id = files.tail
            advanced = state.taken_over(self.id, state.generation, durable_seq)
            return replace(advanced, segment=segment, file_id=file_id)

        with contextlib.suppress(LostError):
            await self.watermarks.change(files.key, more)
        return count

    # --- the compactor reports, in its thread or that of the writer ---------------------------------------------------

    def replace(self, key: ProducerKey, found: Rewritten) -> None:
        """Have the writer thread let a compacted segment take its place."""
        self.store.put(self._files[key], Replace(found, self._replaced))

    def tried(self, key: ProducerKey, path: Path, *, failed: bool) -> None:
        """Count a segment that an error left as it was."""
        del key, path
        self.metrics.compaction_failures.inc(failed)

    def _replaced(self, done: Compaction) -> None:
        if not done.kept:
            self.metrics.compacted_segments.inc()
            self.metrics.compaction_saved_bytes.inc(done.saved)

    # --- the writer thread reports ------------------------------------------------------------------------------------

    def _hand_over(self, cycle: Cycle) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._report, cycle)

    def _report(self, cycle: Cycle) -> None:
        self.metrics.cycle(cycle)
        for progress in cycle.progress:
            barrier = self._barriers.pop(progress.key, None)
            if barrier is not None:
                if not barrier.done():  # else who waited was cancelled
                    barrier.set_result(None)
                continue
            self._disk_failed |= progress.error is not None
            self.metrics.lost_numbers.inc(sum(last - first + 1 for first, last in progress.lost))
            partition = self.partitions.get(partition_of(progress.key, self.log.partitions))
            if partition is not None:
                partition.progressed(progress)

    # --- sharing ------------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Be heard of; one that cannot store is as good as dead."""
        with contextlib.suppress(SinkError):  # `_look` reports that the log cannot be reached
            if not self._disk_problem:
                await self.log.send(self.log.settings.names.consumers, self.id.encode())

    async def _hear(self, message: LogMessage) -> None:
        self._heard[message.data.decode(errors="replace")] = self._loop.time()

    def _alive(self, owners: Iterable[str]) -> set[str]:
        """Return which consumers are alive; at its start a consumer counts every owner as alive."""
        now = self._loop.time()
        alive = {name for name, at in self._heard.items() if now - at < _DEAD_S} | {self.id}
        return alive if now - self._born > _DEAD_S else alive | set(filter(None, owners))

    async def _round(self) -> None:
        """Acquire and release leases, once."""
        leases, revisions = {}, {}
        for number in range(self.log.partitions):
            entry = await self.log.get(lease_key(number))
            leases[number] = Lease.from_bytes(entry.value) if entry else Lease("", 0)
            revisions[number] = entry.revision if entry else 0
        owners = {number: lease.consumer for number, lease in leases.items()}
        alive = self._alive(owners.values())
        ended = [number for number, kept in self.partitions.items() if kept.ended]
        await self._end([*ended, *lost(self.id, set(self.partitions) - set(ended), owners)])
        decision = decide(self.id, alive, owners)
        if self._disk_problem:
            await self._release([*self.partitions, *(n for n, owner in owners.items() if owner == self.id)])
        else:
            again = [n for n, owner in owners.items() if owner == self.id and n not in self.partitions]
            for number in [*decision.take, *(set(again) - set(decision.release))]:
                await self._acquire(number, leases[number], revisions[number])
        await self._release(decision.release)
        self.metrics.partitions.set(len(self.partitions))
        self.metrics.consumers.set(len(alive))
        self._log_waiting(self._missing(owners, alive))

    def _missing(self, owners: Mapping[int, str], alive: AbstractSet[str]) -> str:
        """Return what this consumer waits for before it has any partition; empty where it has one."""
        if self.partitions or self._disk_problem:
            return ""
        if not share_of(self.id, alive, len(owners)):
            return f"waiting: {len(alive)} consumers are alive, and the log has {len(owners)} partitions; all are owned"
        others = sorted({owner for owner in owners.values() if owner not in ("", self.id)})
        owned = f"{', '.join(others) or 'no consumer'} own all"
        return f"waiting for partitions: {owned}; one that is silent for {_DEAD_S:g} s loses its own"

    def _log_waiting(self, waiting: str) -> None:
        """Log what is waited for, once."""
        if waiting and waiting != self._waiting:
            LOG.info("%s", waiting)
        self._waiting = waiting

    async def _acquire(self, number: int, lease: Lease, revision: int) -> None:
        mine = Lease(self.id, lease.generation + 1)
        if await self.log.swap(lease_key(number), mine.to_bytes(), revision) is not None:
            LOG.info("partition %d: acquired from %s", number, lease.consumer or "no owner")
            self.partitions[number] = Partition(self, number, mine.generation)

    async def _release(self, numbers: Iterable[int]) -> None:
        """End the partitions and give their leases back.

        A lease outlives its partition here where the bucket did not answer when it was released, or where this
        consumer was killed: the next round releases it. Else it would keep the partition from the others for good.
        """
        numbers = sorted(set(numbers))
        await self._end(numbers)
        for number in numbers:
            with contextlib.suppress(SinkError):  # the next round tries again
                entry = await self.log.get(lease_key(number))
                lease = Lease.from_bytes(entry.value) if entry else Lease("", 0)
                if entry and lease.consumer == self.id:
                    released = Lease("", lease.generation).to_bytes()
                    if await self.log.swap(lease_key(number), released, entry.revision) is not None:
                        LOG.info("partition %d: released", number)

    async def _end(self, numbers: Iterable[int]) -> None:
        kept = [self.partitions[number] for number in numbers if number in self.partitions]
        await asyncio.gather(*(partition.stop() for partition in kept))
        for partition in kept:
            self.partitions.pop(partition.number, None)

    # --- watching -----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Look at the writer thread, the disk and the connection."""
        broken = self.store.broken or self.log.closed
        if broken:
            self.fail(broken)
        if self.failure:
            return
        settings = self._settings
        free, problem = await asyncio.to_thread(try_storage, settings.directory, self._disk_failed)
        if not problem:
            self._disk_failed = False
            if free < settings.min_free:
                problem = f"only {free:.1%} of the disk is free, {settings.min_free:.1%} must be"
        self._disk_problem = problem
        if not problem and not self.log.connected:
            problem = f"no connection to the log{self.log.last_error and f': {self.log.last_error}'}"
        if bool(problem) != bool(self.problem):
            LOG.log(logging.WARNING if problem else logging.INFO, "%s", problem or "storing again")
        self.problem = problem
        self.metrics.free_ratio.set(free)
        self.metrics.serving.set(not problem)

    def _identify(self) -> str:
        path = self._settings.directory / _ID_NAME
        try:
            if not path.exists():
                fresh = path.with_name(_ID_NAME + ".new")
                with fresh.open("w") as file:
                    file.write(secrets.token_hex(8))
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(path)
                sync_folder(path.parent)
            return path.read_text().strip()
        except OSError as error:
            raise SinkError(f"{path}: cannot be used: {error}; check path and permissions") from error


async def consume(settings: ConsumerSettings, on_ready: Callable[[Consumer], None]) -> None:
    """Run a consumer until SIGTERM or SIGINT, then release its partitions. A signal ends a start that waits, too.

    Args:
        settings: how it runs.
        on_ready: called once it shares.

    Raises:
        ConfigError: it cannot run like this.
        SinkError: the disk refused at the start, or a part of the consumer ended that must not.
    """
    await run_until_signal(Consumer(settings), on_ready, LOG)
