"""What a bank holds between a call and the fold: copies on the host, references on a device, and how much of it.

Holding a step of fresh tensors costs no operation: on the host it is copied as bytes (`stacks`), on a device
the references go into a list, with the writes that each has seen so far (`references`). Everything else (the
memory held, the thread and stream of the calls) is looked at with the first record of a window
and then a few times in it.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from esper_telemetry.counters.cells import DOUBTFUL, LEFT_OUT, VALUES_DOUBTFUL, VALUES_LEFT_OUT
from esper_telemetry.counters.entry import (
    DECISION_FIELDS,
    Entry,
    bytes_of,
    copied,
    detached,
    parts_of,
    size_of,
)
from esper_telemetry.counters.misuse import Misuse, Owner
from esper_telemetry.counters.references import Keeper, Problem
from esper_telemetry.counters.stacks import Stack, Stacks
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from esper_telemetry.clock import Clock
    from esper_telemetry.counters.readback import Backend
    from esper_telemetry.counters.spec import CounterSpec
    from esper_telemetry.counters.window import WindowFold

Mode: TypeAlias = Literal["deferred", "inline"]
GuardMode: TypeAlias = Literal["auto", "always", "off"]

# Records between two looks at the memory held: a look costs as much as ten to thirty records.
_MAX_GAP = 256
# Newest records that are measured for those since the last look.
_SAMPLE = 4


class HeldRecords:
    """The records of one bank since its last fold.

    Args:
        spec: what is counted.
        device: where the recorded tensors live.
        window: folds them.
        backend: of the device.
        misuse: where misuse is reported.
        mode: "deferred" or "inline".
        guard: "off": everything is held by reference, unwatched.
        max_pending_bytes: memory that may be held.
        clock: gives the times of steps; None where they are not asked for.

    Attributes:
        owner: the thread that records.
        watched: what is held is copied, or watched.
        copying: each record is copied at its call.
        pending: what is held by reference, or has no stack.
        stack: that of the newest step; None before there is one.
        of_value: by name, that of the newest value.
        wall_ns: gives the time of a step, in ns; None where it is not asked for.
        look_at: number of pending records at which the bank looks at itself.
    """

    def __init__(
        self,
        spec: CounterSpec,
        device: torch.device,
        *,
        window: WindowFold,
        backend: Backend,
        misuse: Misuse,
        mode: Mode,
        guard: GuardMode,
        max_pending_bytes: int,
        clock: Clock | None,
    ) -> None:
        if guard not in ("auto", "always", "off"):
            raise CounterError(f"guard {guard!r} is unknown; use 'auto', 'always' or 'off'")
        self._mode, self._max_bytes = mode, max_pending_bytes
        self._window, self._backend, self._misuse = window, backend, misuse
        self.watched = guard != "off" and mode == "deferred"
        self.copying = self.watched and device.type == "cpu"
        self.owner = Owner(misuse)
        self.stack: Stack | None = None
        self.of_value: dict[str, Stack] = {}
        self.pending: list[Entry] = []
        self.wall_ns = clock.wall_ns if clock is not None else None
        self._keeper = Keeper(device)
        self._stacks = Stacks(spec, max_pending_bytes)
        self.look_at = self._measure_at = 1
        self._held = self._measured = 0
        self._record_bytes = max_pending_bytes  # not known yet: look at the next record
        self._stream: int | None = None

    def hold(self, kind: str | None, fields: tuple[Any, ...], context: dict[str, Any], time: int) -> None:
        """Copy a record where that is done at the call, else keep a reference."""
        try:
            if self.copying and self.owner.is_here("record") and self._stack_up(kind, fields, context, time):
                return
        except CounterError:
            raise  # the bank is strict
        except Exception as error:  # noqa: BLE001 - no memory, for one: never raised into the trainer
            self._lose((*fields, context, time) if kind is None else (kind, *fields), error)
            return
        if kind is None:
            entry: Entry = (*fields[:DECISION_FIELDS], detached(fields[DECISION_FIELDS]), context, time)
        else:
            entry = (kind, *map(detached, fields))
        self.refer(kind or "", parts_of(entry), entry)

    def refer(self, kind: str, parts: Sequence[Any], entry: Entry) -> None:
        """Keep a record by reference, copied where that is not sound."""
        if self.watched:
            try:
                entry = copied(entry) if self.copying else self._keeper.keep(kind, parts, entry)
            except Exception as error:  # noqa: BLE001 - the trainer meets a failing device in its own calls
                self._lose(entry, error)
                return
        pending = self.pending
        pending.append(entry)
        if len(pending) >= self.look_at or get_ident() != self.owner.ident:
            self._look()

    def _stack_up(self, kind: str | None, fields: tuple[Any, ...], context: dict[str, Any], time: int) -> bool:
        """Copy a record on the stack for its form, and have the next one try that first; False if it has none."""
        stack = self._stacks.fitting(fields, kind)
        if stack is None:
            return False
        if kind is None:
            self.stack = stack
        else:
            self.of_value[kind] = stack
        if len(stack) == stack.capacity and not self._stacks.make_room(stack):
            self.fold()
            return self._stack_up(kind, fields, context, time)
        if not stack.add(fields):
            return False
        if self.wall_ns is not None and kind is None:
            stack.contexts.append(context)
            stack.times.append(time)
        return True

    def drop(self) -> None:
        """Forget everything, uncounted."""
        self.pending, self.stack, self.of_value = [], None, {}

    def _lose(self, entry: Entry, error: Exception) -> None:
        """Report a record that could not be kept."""
        if not self.copying:
            self._keeper.forget_after(len(self.pending))
        self._window.add(VALUES_LEFT_OUT if isinstance(entry[0], str) else LEFT_OUT, size_of(entry))
        self._misuse.report("failed", f"keeping a record failed: {type(error).__name__}: {error}")

    def _look(self) -> None:
        """Look at where the call comes from, and bound the memory held."""
        if (self.copying or self.owner.is_here("record")) and len(self.pending) == 1:
            self._check_place()
            self.look_at = self._measure_at
        if self._mode == "inline":
            entries, self.pending = self.pending, []
            self._window.update(entries)
            self.look_at = 1
        elif len(self.pending) >= self._measure_at:
            self._measure()

    def _measure(self) -> None:
        """Add the memory of the records since the last measurement, and fold early if it is too much."""
        pending = self.pending
        new = len(pending) - self._measured
        newest = pending[-min(new, _SAMPLE) :]
        self._record_bytes = sum(map(bytes_of, newest)) // len(newest)
        self._held += self._record_bytes * new
        self._measured = len(pending)
        if self._held >= self._max_bytes:
            self.fold()
        else:
            self._plan()

    def _plan(self) -> None:
        """Set when memory is measured next: never later than records four times as large would fill what is left."""
        room = (self._max_bytes - self._held) // (4 * max(1, self._record_bytes))
        self._measure_at = self.look_at = len(self.pending) + max(1, min(_MAX_GAP, room))

    def _check_place(self) -> None:
        """Report records that come from a second stream, or from inside a graph capture."""
        if self._mode == "inline":
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

    def fold(self) -> None:
        """Count what is pending: the device work of a window."""
        entries, self.pending = self.pending, []
        problems: list[tuple[str, Problem]] = []
        if self.watched and not self.copying:
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
            self.stack, self.of_value = None, {}
            self._keeper.next_window()
            self._plan()
            self.look_at = 1
        for kind, problem in problems:
            self._report(kind, problem)

    def check_stream(self) -> None:
        """Report a flush on another stream than the records'."""
        if self.watched and self.pending and self._stream not in (None, self._backend.stream()):
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
                " left out, and the record states it; from here on the bank copies what it is given there. A tensor of"
                " its own for each step costs nothing, and mode='inline' counts at the call",
            )
        else:
            self._misuse.report(
                "shared",
                f"{what}: the memory of record {number} of this window came again, and shows no write. If it is a"
                " static buffer (of a CUDA graph, or written through .data) that record may be counted from what was"
                " written later, and the record states that it is doubtful; if it never changes, all is well. From here"
                " on the bank copies what it is given there",
            )
