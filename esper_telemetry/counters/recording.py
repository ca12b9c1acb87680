"""The recording half of a bank: what a call brings is kept as it was (`keeping`), and folded once per window.

A step of fresh tensors costs no operation: on the host it is copied as bytes (`stacks`), on a device
the references go into a list, with the writes that each has seen so far. Everything else (the
memory held, the thread and stream of the calls) is looked at with the first record of a window
and then a few times in it.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torch import Tensor
from torch.compiler import is_dynamo_compiling

from esper_telemetry.counters.entry import (
    DECISION_FIELDS,
    Entry,
    bytes_of,
    check_entry,
    copied,
    detached,
    parts_of,
    size_of,
)
from esper_telemetry.counters.forms import check_context, unknown_context
from esper_telemetry.counters.guard import Misuse, Owner
from esper_telemetry.counters.keeping import GuardMode, Keeper, Problem
from esper_telemetry.counters.layout import DOUBTFUL, LEFT_OUT, VALUES_DOUBTFUL, VALUES_LEFT_OUT
from esper_telemetry.counters.stacks import Stack, Stacks
from esper_telemetry.counters.update import update_
from esper_telemetry.errors import CounterError
from esper_telemetry.schema import CONTEXT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from esper_telemetry.clock import Clock
    from esper_telemetry.counters.backend import Backend
    from esper_telemetry.counters.spec import CounterSpec
    from esper_telemetry.counters.state import CounterState, Heads
    from esper_telemetry.counters.window import Window

Mode: TypeAlias = Literal["deferred", "inline"]

# Records between two looks at the memory held: a look costs as much as ten to thirty records.
_MAX_GAP = 256
# Newest records that stand for those since the last look.
_SAMPLE = 4


class Recording:
    """Records into `window`; `DeviceCounters` adds how the counts leave.

    Args:
        spec: what is counted.
        device: where the recorded tensors live.
        state: the accumulators.
        window: folds records into them.
        backend: of the device.
        misuse: where misuse is reported.
        mode: "deferred" or "inline".
        guard: how references are watched.
        max_pending_bytes: memory that references may keep alive.
        clock: gives the times of steps; None where nobody asks for them.
    """

    def __init__(
        self,
        spec: CounterSpec,
        device: torch.device,
        *,
        state: CounterState,
        window: Window,
        backend: Backend,
        misuse: Misuse,
        mode: Mode,
        guard: GuardMode,
        max_pending_bytes: int,
        clock: Clock | None,
    ) -> None:
        if guard not in ("auto", "always", "off"):
            raise CounterError(f"guard {guard!r} is unknown; use 'auto', 'always' or 'off'")
        self.spec, self.device, self.state, self.mode = spec, device, state, mode
        self.max_pending_bytes = max_pending_bytes
        self.misuse = misuse.counts
        self._window, self._backend, self._misuse = window, backend, misuse
        self._watched = guard != "off" and mode == "deferred"
        self._copying = self._watched and device.type == "cpu"  # at the call, whatever is recorded
        self._keeper = Keeper(device)
        self._owner = Owner(misuse)
        self._stacks = Stacks(spec, max_pending_bytes)
        self._stack: Stack | None = None  # that of the newest step
        self._of_value: dict[str, Stack] = {}  # by name, that of the newest value
        self._wall_ns = clock.wall_ns if clock is not None else None
        self._pending: list[Entry] = []
        self._look_at = self._measure_at = 1  # numbers of records at which the bank looks at itself, and at its memory
        self._steps_begun = self._values_begun = False
        self._held = self._measured = 0
        self._record_bytes = max_pending_bytes  # not known yet: look at the next record
        self._stream: int | None = None
        self._inert = False

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
        stack = self._stack
        if stack is not None and get_ident() == self._owner.ident and (not context or context.keys() <= CONTEXT_FIELDS):
            if stack.packed and valid is None and scalars is None:
                held = stack.add_packed(actions, masks, success)
            else:
                held = stack.add((actions, masks, success, valid, scalars))
            if held:
                if self._wall_ns is not None:
                    stack.contexts.append(context)
                    stack.times.append(self._wall_ns())
                return
        time = 0 if self._wall_ns is None else self._wall_ns()
        fields = (actions, masks, success, valid, scalars)
        if self._copying or scalars is not None or not self._steps_begun or not context.keys() <= CONTEXT_FIELDS:
            self._record_step(fields, context, time)
            return
        usual = valid is None and type(actions) is type(masks) is type(success) is Tensor
        entry = (*fields, context, time)  # the usual form is spelt out: looking through all fields takes longer
        self._refer("", fields[:3] if usual else parts_of(entry), entry)

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
        stack = self._of_value.get(name)
        if stack is not None and get_ident() == self._owner.ident and stack.add((value, weight)):
            return
        if not self._values_begun:
            if self._inert:
                return
            check_entry(self.spec, self.device, (name, value, weight))
            self._values_begun = True
        self._hold(name, (value, weight), {}, 0)

    def _record_step(self, fields: tuple[Any, ...], context: dict[str, Any], time: int) -> None:
        """Record a step that is not like the one before."""
        if self._inert:
            return
        if not context.keys() <= CONTEXT_FIELDS:
            context = self._without_unknown(context)
        if not self._steps_begun:
            check_entry(self.spec, self.device, (*fields, context, time))
            self._steps_begun = True
        self._hold(None, fields, context, time)

    def _hold(self, kind: str | None, fields: tuple[Any, ...], context: dict[str, Any], time: int) -> None:
        """Copy a record where that is done at the call, else keep a reference."""
        try:
            if self._copying and self._owner.is_here("record") and self._stack_up(kind, fields, context, time):
                return
        except CounterError:
            raise  # the bank is strict
        except Exception as error:  # noqa: BLE001 - no memory, for one: the trainer's to meet, not ours to report first
            self._lose((*fields, context, time) if kind is None else (kind, *fields), error)
            return
        if kind is None:
            entry: Entry = (*fields[:DECISION_FIELDS], detached(fields[DECISION_FIELDS]), context, time)
        else:
            entry = (kind, *map(detached, fields))
        self._refer(kind or "", parts_of(entry), entry)

    def _refer(self, kind: str, parts: Sequence[Any], entry: Entry) -> None:
        """Keep a record by reference, copied where that is not sound."""
        if self._watched:
            try:
                entry = copied(entry) if self._copying else self._keeper.keep(kind, parts, entry)
            except Exception as error:  # noqa: BLE001 - a sick device is the trainer's to meet, not ours to report first
                self._lose(entry, error)
                return
        pending = self._pending
        pending.append(entry)
        if len(pending) >= self._look_at or get_ident() != self._owner.ident:
            self._look()

    def _stack_up(self, kind: str | None, fields: tuple[Any, ...], context: dict[str, Any], time: int) -> bool:
        """Copy a record on the stack for its form, and have the next one try that first; False if it has none."""
        stack = self._stacks.fitting(fields, kind)
        if stack is None:
            return False
        if kind is None:
            self._stack = stack
        else:
            self._of_value[kind] = stack
        if len(stack) == stack.capacity and not self._stacks.make_room(stack):
            self._fold()
            return self._stack_up(kind, fields, context, time)
        if not stack.add(fields):
            return False
        if self._wall_ns is not None and kind is None:
            stack.contexts.append(context)
            stack.times.append(time)
        return True

    def silence(self) -> None:
        """Turn the bank into one that ignores every call: what a fork child's bank is from the start."""
        self._inert = True
        self._steps_begun = self._values_begun = False  # so that no call goes past a look at that
        self._pending, self._stack, self._of_value = [], None, {}

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

    def _lose(self, entry: Entry, error: Exception) -> None:
        """Report a record that could not be kept."""
        if not self._copying:
            self._keeper.forget_after(len(self._pending))
        self._window.add(VALUES_LEFT_OUT if isinstance(entry[0], str) else LEFT_OUT, size_of(entry))
        self._misuse.report("failed", f"keeping a record failed: {type(error).__name__}: {error}")

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

    def _look(self) -> None:
        """Look at where the call comes from, and bound the memory held."""
        if (self._copying or self._owner.is_here("record")) and len(self._pending) == 1:
            self._check_place()
            self._look_at = self._measure_at
        if self.mode == "inline":
            entries, self._pending = self._pending, []
            self._window.update(entries)
            self._look_at = 1
        elif len(self._pending) >= self._measure_at:
            self._measure()

    def _measure(self) -> None:
        """Add the memory of the records since the last measurement, and fold early if it is too much."""
        pending = self._pending
        new = len(pending) - self._measured
        newest = pending[-min(new, _SAMPLE) :]
        self._record_bytes = sum(map(bytes_of, newest)) // len(newest)
        self._held += self._record_bytes * new
        self._measured = len(pending)
        if self._held >= self.max_pending_bytes:
            self._fold()
        else:
            self._plan()

    def _plan(self) -> None:
        """Set when memory is measured next: never later than records four times as large would fill what is left."""
        room = (self.max_pending_bytes - self._held) // (4 * max(1, self._record_bytes))
        self._measure_at = self._look_at = len(self._pending) + max(1, min(_MAX_GAP, room))

    def _check_place(self) -> None:
        """Report records that come from a second stream, or from inside a graph capture."""
        if self.mode == "inline":
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
        problems: list[tuple[str, Problem]] = []
        if self._watched and not self._copying:
            settled = self._keeper.settle(entries)
            entries = settled.entries
            problems += [("overwritten", one) for one in settled.left_out]
            problems += [("shared", one) for one in settled.doubtful]
        for kind, problem in problems:
            cells = (VALUES_LEFT_OUT, VALUES_DOUBTFUL) if problem.value else (LEFT_OUT, DOUBTFUL)
            self._window.add(cells[kind == "shared"], problem.size)
        self._held = self._measured = 0
        try:
            self._window.fold(entries, self._stacks.filled())
        finally:  # a strict bank may have raised
            self._stacks.clear()
            self._stack, self._of_value = None, {}
            self._keeper.next_window()
            self._plan()
            self._look_at = 1
        for kind, problem in problems:
            self._report(kind, problem)

    def _check_stream(self) -> None:
        """Report a flush on another stream than the records'."""
        if self._pending and self._stream not in (None, self._backend.stream()):
            self._misuse.report(
                "stream",
                "flush: called on another stream than record; call both on one, or the fold may read too early",
            )

    def _report(self, kind: str, problem: Problem) -> None:
        what, number = problem.what, problem.number
        if kind == "overwritten":
            self._misuse.report(
                "overwritten",
                f"{what} was written in place after record {number} of this window and before the flush. That record is"
                " left out, and the record says so; from here on the bank copies what it is given there. A tensor of"
                " its own for each step costs nothing, and mode='inline' counts at the call",
            )
        else:
            self._misuse.report(
                "shared",
                f"{what}: the memory of record {number} of this window came again, and shows no write. If it is a"
                " static buffer (of a CUDA graph, or written through .data) that record may be counted from what was"
                " written later, and the record says that it is doubtful; if it never changes, all is well. From here"
                " on the bank copies what it is given there",
            )
