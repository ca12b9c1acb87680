"""Counters on the device: nothing per step, one fold and one copy per batch, no wait.

`record_*` append references to a list: no operation, no launch, no wait. `flush` folds
them (some twenty launches, however many steps) and starts one copy into pinned memory;
`poll` looks whether it has arrived. With no slot free the copy is skipped and counting
goes on: nothing is lost.

Of all methods only `close` and `PendingSnapshot.result` may wait for the device, and
only the thread that trains may call any of them. A fork child's bank does nothing.
"""

from __future__ import annotations

import logging
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from esper_telemetry.clock import SYSTEM_CLOCK, Clock
from esper_telemetry.counters.backend import Backend, backend_of, indexed
from esper_telemetry.counters.entry import STEP_FIELDS, Entry, bytes_of, check_entry, clone_of, detached
from esper_telemetry.counters.guard import Guard, GuardMode, Misuse
from esper_telemetry.counters.pending import Outbox, PendingSnapshot
from esper_telemetry.counters.readback import Copy, Reader
from esper_telemetry.counters.reduce import current_rank, reduce_to_root_
from esper_telemetry.counters.snapshot import Snapshot, Tag
from esper_telemetry.counters.state import Heads, new_state
from esper_telemetry.counters.update import update_
from esper_telemetry.counters.window import Window
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch.distributed as dist

    from esper_telemetry.counters.spec import CounterSpec

Mode: TypeAlias = Literal["deferred", "inline"]

_LOG = logging.getLogger("esper_telemetry.counters")
_MAX_PENDING_BYTES = 32 * 1024 * 1024
_DETAIL_BYTES = 8 * 1024 * 1024
# Records between two looks at the memory held: a look costs as much as ten to thirty records.
_MAX_GAP = 256
# Newest records that stand for those since the last look.
_SAMPLE = 4


class _Discarded(list[Entry]):
    """The list of a closed bank, or of one in a fork child: it stays empty."""

    def append(self, _entry: Entry) -> None:
        """Drop a record."""


class DeviceCounters:
    """A bank of counters on one device, for one thread.

    Args:
        spec: what is counted.
        device: where the recorded tensors live.
        slots: snapshots that may be under way before a flush is coalesced into the next one.
        mode: "deferred" keeps references until the flush; "inline" counts each record at once
            (some fifteen launches), for static buffers and CUDA graphs.
        guard: "auto" watches the first 4 windows and then 1 in 64 for tensors that were written
            into after they were recorded; "always"; "off".
        max_pending_bytes: memory the references may keep alive; beyond it they are folded before
            the flush. A fold needs about four times what it folds, for as long as it runs.
        strict: raise on any misuse. Otherwise only this constructor and a first record raise,
            and later misuse is counted in `misuse` and logged once a kind.
        steps: keep per-step detail too: a row for each environment of each record with actions, in the
            `StepBlock` events of the snapshot. Needs `spec.row`; nothing is kept inside compiled regions.
        detail_bytes: room for detail in each slot; rows beyond it are shed, and counted.
        env_ids: `Context.env_id` of each environment, for detail; None: 0 to B-1.
        process_group: add the counts of all ranks into the first one at each flush, which then is a
            collective call; by default each rank reports its own.
        rank: rank to report; None: that of torch.distributed, or 0.
        backend: for a kind of device other than cpu and cuda.
        clock: gives the times of steps.

    Attributes:
        state: the accumulators, for `update_`.
        misuse: kind → how often.

    Raises:
        CounterError: an option has a value that cannot be used.
    """

    def __init__(
        self,
        spec: CounterSpec,
        device: torch.device | str = "cpu",
        *,
        slots: int = 2,
        mode: Mode = "deferred",
        guard: GuardMode = "auto",
        max_pending_bytes: int = _MAX_PENDING_BYTES,
        strict: bool = False,
        steps: bool = False,
        detail_bytes: int = _DETAIL_BYTES,
        env_ids: Sequence[int] | None = None,
        process_group: dist.ProcessGroup | None = None,
        rank: int | None = None,
        backend: Backend | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if mode not in ("deferred", "inline"):
            raise CounterError(f"mode {mode!r} is unknown; use 'deferred' or 'inline'")
        if slots < 1 or max_pending_bytes < 1:
            raise CounterError(f"slots={slots}, max_pending_bytes={max_pending_bytes}: give numbers over 0")
        if steps and (mode == "inline" or process_group is not None):
            raise CounterError(
                "steps=True keeps the tensors of each rank's steps: use mode='deferred', no process_group"
            )
        self.spec, self.mode, self.max_pending_bytes = spec, mode, max_pending_bytes
        self.device = indexed(device)
        self.rank = current_rank() if rank is None else rank
        self._misuse = Misuse(strict=strict)
        self.misuse = self._misuse.counts
        self._guard = Guard(guard if mode == "deferred" else "off", self._misuse)
        self._backend = backend if backend is not None else backend_of(self.device)
        self._group = process_group
        detail = None
        if steps:
            from esper_telemetry.counters.steps import StepDetail  # needs numpy

            detail = StepDetail(spec, detail_bytes, env_ids, str(self.device))
        with torch.inference_mode(mode=False):  # an inference tensor could not be counted into outside that mode
            self.state = new_state(spec, self.device)
            self._window = Window(spec, self.state, detail, self._misuse)
            room = detail_bytes if steps else 0
            self._reader = Reader(
                spec, self.state, self._backend, slots=slots, detail=detail, detail_bytes=room, misuse=self._misuse
            )
        self._outbox = Outbox(slots)
        self._wall_ns = clock.wall_ns
        self._timed = steps
        self._pending: list[Entry] = []
        self._check_at = 0  # number of records at which a record is looked at; 0: each
        self._seen: set[Any] = set()
        self._copying = False
        self._held = self._measured = 0
        self._record_bytes = max_pending_bytes  # not known yet: look at the next record
        self._stream: int | None = None
        self._overwritten = self._coalesced = 0
        self._first_batch: int | None = None
        self._last_batch = 0
        self._inert = False
        _BANKS.add(self)

    def record_step(
        self,
        actions: Heads | None,
        masks: Heads | None,
        success: Tensor | None = None,
        scalars: Mapping[str, Tensor] | None = None,
        **context: int | Sequence[int],
    ) -> None:
        """Record one step of B environments; no operation is done now.

        Args:
            actions: integers: packed [B, H], or head → [B].
            masks: bool, True = valid: packed [B, S], or head → [B, K].
            success: bool [B]: the action took effect.
            scalars: name → 0-d or [B], as if given to `record_scalar`, and a column of step detail.
            **context: for step detail: fields of the context, e.g. inner_epoch=3, or episode=[4, 5, 6, 7] with
                one integer for each environment.

        Raises:
            CounterError: at the first record of its kind, the input is not what the spec asks for.
        """
        if is_dynamo_compiling():
            self._trace(actions, masks, success, scalars)
            return
        if scalars is not None:
            scalars = detached(scalars)
        pending = self._pending
        pending.append((actions, masks, success, scalars, context, self._wall_ns() if self._timed else 0))
        if len(pending) >= self._check_at:
            self._look()

    def record_actions(self, actions: Heads, success: Tensor | None = None) -> None:
        """Record actions alone; see `record_step`."""
        self.record_step(actions, None, success)

    def record_masks(self, masks: Heads) -> None:
        """Record masks alone; see `record_step`."""
        self.record_step(None, masks)

    def record_scalar(self, name: str, value: Tensor) -> None:
        """Record a value of a scalar, a histogram or both: 0-d or [B], detached.

        Raises:
            CounterError: at the first record of that name, the spec does not have it or `value` is no tensor here.
        """
        if is_dynamo_compiling():
            self._window.update_value(name, value)
            return
        pending = self._pending
        pending.append((name, detached(value)))
        if len(pending) >= self._check_at:
            self._look()

    def flush(self, *, batch_idx: int) -> PendingSnapshot | None:
        """Start the copy of everything recorded, and begin anew; never waits.

        Args:
            batch_idx: the batch that ends here.

        Returns:
            The snapshot under way; None if no slot was free (then it is coalesced with the
            next one), and on ranks that added theirs to the first one of a process group.
        """
        if self._inert or not self._guard.owned("flush"):
            return None
        self._fold()
        self._last_batch = batch_idx
        if self._first_batch is None:
            self._first_batch = batch_idx
        if self._group is not None and not reduce_to_root_(self.state, self._group):
            self._reader.reset()
            self._first_batch = None
            return None
        if self._outbox.full:
            self._coalesced += 1
            return None
        return self._start()[1]

    def poll(self) -> list[Snapshot]:
        """Take the snapshots that have arrived, oldest first; never waits."""
        if self._inert or not self._guard.owned("poll"):
            return []
        return self._outbox.poll()

    def close(self, timeout: float = 5.0) -> list[Snapshot]:
        """Take the rest, waiting for the device once and at most `timeout` seconds; the bank then ignores records.

        Records since the last flush come with it, as the batch after it, or coalesced with those before.
        """
        if self._inert:
            return []
        self._fold()
        if self._coalesced:
            self._coalesced -= 1  # the last of those flushes is the snapshot itself
        else:
            self._last_batch += 1
        copy, _ = self._start()
        if not copy.done():
            self._backend.wait(copy.slot.arrival, timeout)
        taken = self._outbox.poll()
        lost = len(self._outbox.waiting())
        if lost:
            _LOG.error("close: %d snapshots had not arrived after %.1f s and are lost", lost, timeout)
        self.silence()
        return [snapshot for snapshot in taken if any(snapshot.ints) or snapshot.blocks]

    def silence(self) -> None:
        """Turn the bank into one that ignores every call: what a fork child's bank is from the start."""
        self._inert = True
        self._pending = _Discarded()
        self._check_at = sys.maxsize
        self._outbox.clear()

    def _trace(
        self, actions: Heads | None, masks: Heads | None, success: Tensor | None, scalars: Mapping[str, Tensor] | None
    ) -> None:
        """Count inside a compiled region, where appending to a list would recompile at every step."""
        update_(self.state, actions, masks, success)
        for name, value in (scalars or {}).items():
            self._window.update_value(name, value)

    def _look(self) -> None:
        """Look at the newest record: check the first of its kind, note what a guard needs, bound the memory held."""
        pending = self._pending
        entry = pending[-1]
        kind = (entry[0] is None, entry[1] is None) if len(entry) == STEP_FIELDS else entry[0]
        if kind not in self._seen:
            self._seen.add(kind)
            self._check_first(entry)
        if self.mode == "inline":
            pending.clear()
            self._window.update([entry])
            return
        self._keep(entry)
        if self._held >= self.max_pending_bytes:
            self._fold()
        elif not (self._guard.watching or self._copying):
            self._check_at = len(pending) + self._gap()

    def _keep(self, entry: Entry) -> None:
        """Do for the newest record what this window asks: copy it, note its state, add its memory."""
        pending = self._pending
        if self._copying:
            pending[-1] = entry = clone_of(entry)
        new = len(pending) - self._measured
        newest = pending[-1:] if new == 1 else pending[-_SAMPLE:]
        self._record_bytes = sum(map(bytes_of, newest)) // len(newest)
        self._held += self._record_bytes * new
        self._measured = len(pending)
        if self._guard.watching:
            self._guard.note(entry)
            self._check_place()

    def _gap(self) -> int:
        """Return how many records may come before the next look, were they four times as large as the last one."""
        return max(1, min(_MAX_GAP, (self.max_pending_bytes - self._held) // (4 * self._record_bytes)))

    def _check_first(self, entry: Entry) -> None:
        try:
            check_entry(self.spec, self.device, entry)
        except CounterError:
            self._pending.pop()
            raise

    def _check_place(self) -> None:
        """Report records that come from a second thread or stream, or from inside a graph capture."""
        if not self._guard.owned("record") or len(self._pending) > 1:
            return
        if self._backend.capturing():
            self._misuse.report(
                "capture",
                "record: called while a CUDA graph is captured; replays would not be counted: use mode='inline'",
            )
        stream = self._backend.stream()
        if self._stream is None:
            self._stream = stream
        elif stream != self._stream:
            self._misuse.report(
                "stream",
                "record: called on a second stream; record and flush on one stream, or the fold may read too early",
            )

    def _fold(self) -> None:
        """Count what is pending: the device work of a window."""
        entries, self._pending = self._pending, []
        spoiled = self._spoiled(entries)
        if spoiled:
            self._overwritten += len(spoiled)
            self._copying = True
            entries = [entry for number, entry in enumerate(entries) if number not in spoiled]
        self._guard.next_window()
        self._held = self._measured = 0
        each = self._guard.watching or self._copying or self.mode == "inline"
        self._check_at = 0 if each else self._gap()
        self._window.fold(entries)

    def _spoiled(self, entries: Sequence[Entry]) -> set[int]:
        if not (self._guard.watching and entries):
            return set()
        if self._stream not in (None, self._backend.stream()):
            self._misuse.report(
                "stream",
                "flush: called on another stream than record; call both on one, or the fold may read too early",
            )
        return self._guard.overwritten(entries)

    def _start(self) -> tuple[Copy, PendingSnapshot]:
        """Start the copy of everything folded; a slot must be free."""
        first = self._last_batch if self._first_batch is None else self._first_batch
        tag = Tag(first, self._last_batch, self._coalesced, self.rank, str(self.device), self._overwritten)
        self._first_batch, self._coalesced, self._overwritten = None, 0, 0
        copy = self._reader.start(tag)
        return copy, self._outbox.put(PendingSnapshot(copy, tag))


# Every living bank, for the one hook that a fork runs.
_BANKS: weakref.WeakSet[DeviceCounters] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for bank in _BANKS:
        bank.silence()


os.register_at_fork(after_in_child=_after_fork_in_child)
