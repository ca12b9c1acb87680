"""Counters on the device: nothing per step, one fold and one copy per batch, no wait.

`record_*` copy bytes on the host and append references on a device (`held`): no operation, no
launch, no wait, unless memory on a device is not the caller's alone, which is copied. `flush` folds
the records (some twenty launches, however many steps) and starts one copy into pinned memory;
`poll` looks whether it has arrived. With no slot free the copy is skipped and counting
goes on: nothing is lost.

Of all methods only `close` and `PendingSnapshot.result` may wait for the device, and
only the thread that trains may call any of them. A fork child's bank does nothing.
"""

from __future__ import annotations

import logging
import os
import weakref
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from esper_telemetry.clock import SYSTEM_CLOCK, Clock
from esper_telemetry.counters.entry import check_entry, parts_of
from esper_telemetry.counters.forms import check_context, unknown_context
from esper_telemetry.counters.held import GuardMode, HeldRecords, Mode
from esper_telemetry.counters.misuse import Misuse
from esper_telemetry.counters.pending import Outbox, PendingSnapshot
from esper_telemetry.counters.readback import Backend, Copy, Reader, backend_of, indexed
from esper_telemetry.counters.snapshot import Snapshot, Tag
from esper_telemetry.counters.state import current_rank, new_state, reduce_to_root_
from esper_telemetry.counters.update import update_
from esper_telemetry.counters.window import WindowFold, quiet
from esper_telemetry.errors import CounterError
from esper_telemetry.schema import CONTEXT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch.distributed as dist

    from esper_telemetry.counters.spec import CounterSpec
    from esper_telemetry.counters.state import Heads

_LOG = logging.getLogger("esper_telemetry.counters")
_MAX_PENDING_BYTES = 32 * 1024 * 1024
_DETAIL_BYTES = 8 * 1024 * 1024


class ValueSource(Protocol):
    """What measures by itself and hands its values over before a fold."""

    def collect(self) -> list[tuple[str, torch.Tensor]]:
        """Return (name, values) since this was last asked."""


class DeviceCounters:
    """A bank of counters on one device, for one thread.

    Args:
        spec: what is counted.
        device: where the recorded tensors live.
        slots: snapshots that may be under way before a flush is coalesced into the next one.
        mode: "deferred" keeps references until the flush; "inline" counts each record at once
            (some fifteen launches), for static buffers and CUDA graphs.
        guard: "auto" and "always": records on the CPU are copied at the call; on another device each reference is
            watched in every window, by the writes that torch counts. "off": each record is kept by reference and
            not watched, so it must have tensors of its own.
        max_pending_bytes: memory that the records may keep; beyond it they are folded before the flush. A fold needs
            about four times what it folds; on the CPU it keeps that for the next.
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
        where = indexed(device)
        backend = backend if backend is not None else backend_of(where)
        faults = Misuse(strict=strict)
        detail = None
        if steps:
            from esper_telemetry.counters.detail import StepDetail  # needs numpy

            detail = StepDetail(spec, detail_bytes, env_ids, str(where))
        with torch.inference_mode(mode=False):  # an inference tensor could not be counted into outside that mode
            state = new_state(spec, where)
            room = detail_bytes if steps else 0
            self._reader = Reader(spec, state, backend, slots=slots, detail=detail, detail_bytes=room, misuse=faults)
        self.spec, self.device, self.state, self.mode = spec, where, state, mode
        self.max_pending_bytes = max_pending_bytes
        self.misuse = faults.counts
        self._backend, self._misuse = backend, faults
        self._window = WindowFold(spec, state, detail, faults, max_pending_bytes)
        self._held = HeldRecords(
            spec,
            where,
            window=self._window,
            backend=backend,
            misuse=faults,
            mode=mode,
            guard=guard,
            max_pending_bytes=max_pending_bytes,
            clock=clock if steps else None,
        )
        self._steps_begun = self._values_begun = self._inert = False
        self.rank = current_rank() if rank is None else rank
        self._group = process_group
        self._sources: list[ValueSource] = []
        self._outbox = Outbox(slots)
        self._coalesced = 0
        self._first_batch: int | None = None
        self._last_batch = 0
        _BANKS.add(self)

    def record_step(
        self,
        actions: Heads | None,
        masks: Heads | None,
        success: Tensor | None = None,
        scalars: Mapping[str, Tensor] | None = None,
        *,
        valid: Tensor | None = None,
        **context: int | Sequence[int],
    ) -> None:
        """Record one step of B environments; of fresh tensors nothing is computed now.

        Args:
            actions: integers: packed [B, H], or head → [B]; with one head [B] too. One-hot: packed [B, S], or
                head → [B, K].
            masks: bool, True = valid (or integers, 1 = valid): packed [B, S], or head → [B, K].
            success: bool [B]: the action took effect.
            scalars: name → 0-d or [B], as if given to `record_scalar`, and a column of step detail.
            valid: bool [B]: False where the row was no decision (the ignored action of a vector environment's reset
                step, a padded or dead agent): it counts in `invalid_rows` only, and so do its scalars of shape [B].
            **context: for step detail: fields of the context, e.g. inner_epoch=3, or episode=[4, 5, 6, 7] with
                one integer for each environment.

        Raises:
            CounterError: the bank's first step is not what the spec asks for; later ones raise if it is strict.
        """
        if is_dynamo_compiling():
            self._trace(actions, masks, success, scalars, valid)
            return
        held = self._held
        stack = held.stack
        if stack is not None and get_ident() == held.owner.ident and (not context or context.keys() <= CONTEXT_FIELDS):
            if stack.packed and valid is None and scalars is None:
                added = stack.add_packed(actions, masks, success)
            else:
                added = stack.add((actions, masks, success, valid, scalars))
            if added:
                if held.wall_ns is not None:
                    stack.contexts.append(context)
                    stack.times.append(held.wall_ns())
                return
        time = 0 if held.wall_ns is None else held.wall_ns()
        fields = (actions, masks, success, valid, scalars)
        if (
            held.copying
            or scalars is not None
            or not self._steps_begun
            or (context and not context.keys() <= CONTEXT_FIELDS)
        ):
            self._record_step(fields, context, time)
            return
        usual = valid is None and type(actions) is type(masks) is type(success) is Tensor
        entry = (*fields, context, time)
        if usual and held.watched and held.keeper.keep_by_reference(actions, masks, success):  # type: ignore[arg-type]  # asked in the line before
            held.append(entry)
        else:
            held.refer("", parts_of(entry), entry)

    def record_actions(self, actions: Heads, success: Tensor | None = None, *, valid: Tensor | None = None) -> None:
        """Record actions alone; see `record_step`."""
        self.record_step(actions, None, success, valid=valid)

    def record_masks(self, masks: Heads, *, valid: Tensor | None = None) -> None:
        """Record masks alone; see `record_step`."""
        self.record_step(None, masks, valid=valid)

    def record_scalar(self, name: str, value: Tensor, weight: Tensor | None = None) -> None:
        """Record a value of a scalar, a histogram or both: 0-d or [B], detached.

        Args:
            name: in the spec.
            value: real.
            weight: of the value's shape or 0-d: bool (False leaves a value out) or real, for the weighted mean and
                spread; a histogram counts values whose weight is not 0.

        Raises:
            CounterError: the bank's first value is of a name that the spec does not have, or no tensor here; later
                ones raise if it is strict.
        """
        if is_dynamo_compiling():
            self._window.update_value(name, value, weight)
            return
        if type(name) is not str:
            name = repr(name)  # no spec has it: reported as any other unknown name
        held = self._held
        stack = held.of_value.get(name)
        if stack is not None and get_ident() == held.owner.ident and stack.add((value, weight)):
            return
        if not self._values_begun:
            if self._inert:
                return
            check_entry(self.spec, self.device, (name, value, weight))
            self._values_begun = True
        held.hold(name, (value, weight), {}, 0)

    def _record_step(self, fields: tuple[Any, ...], context: dict[str, Any], time: int) -> None:
        """Record a step that is not like the one before."""
        if self._inert:
            return
        if not context.keys() <= CONTEXT_FIELDS:
            context = self._without_unknown(context)
        if not self._steps_begun:
            check_entry(self.spec, self.device, (*fields, context, time))
            self._steps_begun = True
        self._held.hold(None, fields, context, time)

    def _trace(
        self,
        actions: Heads | None,
        masks: Heads | None,
        success: Tensor | None,
        scalars: Mapping[str, Tensor] | None,
        valid: Tensor | None,
    ) -> None:
        """Count inside a compiled region, where appending to a list would recompile at every step."""
        update_(self.state, actions, masks, success, valid)
        for name, value in (scalars or {}).items():
            self._window.update_value(name, value, valid if valid is not None and value.dim() else None)

    def _without_unknown(self, context: dict[str, Any]) -> dict[str, Any]:
        """Report keywords that nothing takes, and return the others; before the first step they raise."""
        try:
            check_context(context)
        except CounterError as error:
            if not self._steps_begun:
                raise
            self._misuse.report("misfit", str(error))
        unknown = unknown_context(context)
        return {name: value for name, value in context.items() if name not in unknown}

    def flush(self, *, batch_idx: int) -> PendingSnapshot | None:
        """Start the copy of everything recorded, and begin anew; never waits.

        Args:
            batch_idx: the batch that ends here.

        Returns:
            The snapshot under way; None if no slot was free (then it is coalesced with the
            next one), and on ranks that added theirs to the first one of a process group.
        """
        if self._inert or not self._held.owner.is_here("flush"):
            return None
        try:
            return self._flush(batch_idx)
        except CounterError:
            raise  # the bank is strict
        except Exception as error:  # noqa: BLE001 - the trainer meets a failing device in its own calls
            self._misuse.report("failed", f"the flush of batch {batch_idx} failed: {type(error).__name__}: {error}")
            return None

    def _flush(self, batch_idx: int) -> PendingSnapshot | None:
        self._held.check_stream()
        for source in self._sources:
            self.take_from(source)
        self._held.fold()
        self._window.add_misuse(self._misuse.take())
        self._last_batch = batch_idx
        if self._first_batch is None:
            self._first_batch = batch_idx
        if self._group is not None and not self._reduce(self._group):
            self._reader.reset()
            self._first_batch = None
            return None
        if self._outbox.full:
            self._coalesced += 1
            return None
        return self._start()[1]

    def _reduce(self, group: dist.ProcessGroup) -> bool:
        """Add the counts of all ranks; where a rank is gone, this one reports its own from now on."""
        try:
            return reduce_to_root_(self.state, group)
        except Exception as error:  # noqa: BLE001 - a rank that died is the trainer's to meet
            self._group = None
            self._misuse.report(
                "failed",
                f"adding the counts of all ranks failed, a rank may have died: {type(error).__name__}: {error}. From"
                " here on each rank reports its own",
            )
            return True

    def poll(self) -> list[Snapshot]:
        """Take the snapshots that have arrived, oldest first; never waits."""
        if self._inert or not self._held.owner.is_here("poll"):
            return []
        try:
            return self._outbox.poll()
        except Exception as error:  # noqa: BLE001 - as in flush
            self._misuse.report("failed", f"poll failed: {type(error).__name__}: {error}")
            return []

    def close(self, timeout: float = 5.0) -> list[Snapshot]:
        """Take the rest, waiting for the device once and at most `timeout` seconds; the bank then ignores records.

        Records since the last flush come with it, as the batch after it, or coalesced with those before.
        """
        if self._inert:
            return []
        for source in self._sources:
            self.take_from(source)
        self._held.fold()
        self._window.add_misuse(self._misuse.take())
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
        self._group = None  # torch 2.13 may abort a process at its end that still holds a gloo group
        return [snapshot for snapshot in taken if any(snapshot.ints) or snapshot.blocks]

    def add_source(self, source: ValueSource) -> None:
        """Ask `source` for values before each fold of a flush: a `GradientWatch` adds itself."""
        if source not in self._sources:
            self._sources.append(source)

    def take_from(self, source: ValueSource) -> None:
        """Record the values that a source has, now; nothing is raised unless the bank is strict."""
        if self._inert:
            return
        try:
            with quiet(self.device):
                for name, values in source.collect():
                    self.record_scalar(name, values)
        except CounterError:
            raise
        except Exception as error:  # noqa: BLE001 - as in flush
            self._misuse.report("failed", f"taking values from {source!r} failed: {type(error).__name__}: {error}")

    def report_unseen(self, message: str) -> None:
        """Count and log that something which should have been counted was not seen."""
        self._misuse.note("unseen", message)

    def silence(self) -> None:
        """Ignore every call from here on, and forget what is under way: what a fork child's bank is from the start."""
        self._inert = True
        self._steps_begun = self._values_begun = False  # so that no call goes past a look at that
        self._held.drop()
        self._outbox.clear()

    def _start(self) -> tuple[Copy, PendingSnapshot]:
        """Start the copy of everything folded; a slot must be free."""
        first = self._last_batch if self._first_batch is None else self._first_batch
        tag = Tag(first, self._last_batch, self._coalesced, self.rank, str(self.device))
        self._first_batch, self._coalesced = None, 0
        copy = self._reader.start(tag)
        return copy, self._outbox.put(PendingSnapshot(copy, tag))


# Every living bank, for the one hook that a fork runs.
_BANKS: weakref.WeakSet[DeviceCounters] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for bank in _BANKS:
        bank.silence()


if hasattr(os, "register_at_fork"):  # not everywhere
    os.register_at_fork(after_in_child=_after_fork_in_child)
