"""The recording half of a bank: references into a list, a look now and then, a fold per window.

The path of a step is one append. Everything else (checking the first record of its kind,
noting what a guard needs, bounding the memory held) is done by a look, which comes with
the first record, with each one of a watched window, and else a few times a window.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torch.compiler import is_dynamo_compiling

from esper_telemetry.counters.entry import STEP_FIELDS, Entry, bytes_of, check_entry, clone_of, detached
from esper_telemetry.counters.guard import Guard, GuardMode, Misuse
from esper_telemetry.counters.update import update_
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import Tensor

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


class _Discarded(list[Entry]):
    """The list of a closed bank, or of one in a fork child: it stays empty."""

    def append(self, _entry: Entry) -> None:
        """Drop a record."""


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
        guard: which windows are watched.
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
        self.spec, self.device, self.state, self.mode = spec, device, state, mode
        self.max_pending_bytes = max_pending_bytes
        self.misuse = misuse.counts
        self._window, self._backend, self._misuse = window, backend, misuse
        self._guard = Guard(guard if mode == "deferred" else "off", misuse)
        self._wall_ns = clock.wall_ns if clock is not None else None
        self._pending: list[Entry] = []
        self._check_at = 0  # number of records at which the newest is looked at; 0: each
        self._measure_at = 0
        self._seen: set[Any] = set()
        self._copying = False
        self._held = self._measured = 0
        self._record_bytes = max_pending_bytes  # not known yet: look at the next record
        self._stream: int | None = None
        self._overwritten = 0
        self._inert = False

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
        pending, wall_ns = self._pending, self._wall_ns
        pending.append((actions, masks, success, scalars, context, 0 if wall_ns is None else wall_ns()))
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

    def silence(self) -> None:
        """Turn the bank into one that ignores every call: what a fork child's bank is from the start."""
        self._inert = True
        self._pending = _Discarded()
        self._check_at = sys.maxsize

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
        if self._copying:
            pending[-1] = entry = clone_of(entry)
        if self._guard.watching:
            self._guard.note(entry)
            self._check_place()
        if len(pending) >= self._measure_at:
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
        room = (self.max_pending_bytes - self._held) // (4 * self._record_bytes)
        self._measure_at = len(self._pending) + max(1, min(_MAX_GAP, room))
        each = self._guard.watching or self._copying or self.mode == "inline"
        self._check_at = 0 if each else self._measure_at

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
        self._plan()
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
