"""From the device's cells to the host: one copy a flush into one of a few fixed slots.

The reset stands behind the copy on the same stream, so the device itself orders them:
the host neither waits nor needs a second set of accumulators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from esper_telemetry.counters.layout import CELL_BYTES
from esper_telemetry.counters.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esper_telemetry.counters.backend import Backend
    from esper_telemetry.counters.guard import Misuse
    from esper_telemetry.counters.snapshot import Tag
    from esper_telemetry.counters.spec import CounterSpec
    from esper_telemetry.counters.state import CounterState
    from esper_telemetry.counters.steps import Chunk, StepDetail


class Slot:
    """Host memory for one copy, and the event that says it has arrived.

    Args:
        backend: of the device.
        cells: int64 cells of a bank.
        detail_bytes: room for step detail behind them.
    """

    def __init__(self, backend: Backend, cells: int, detail_bytes: int) -> None:
        self.host = backend.host_buffer(cells * CELL_BYTES + detail_bytes)
        self.cells = self.host.narrow(0, 0, cells * CELL_BYTES).view(torch.int64)
        self.arrival = backend.arrival()
        self.free = True


class Copy:
    """One copy under way; a `Readback`.

    Args:
        slot: where it goes.
        build: makes the snapshot of what arrived.
    """

    def __init__(self, slot: Slot, build: Callable[[Slot], Snapshot]) -> None:
        self.slot = slot
        self._build = build

    def done(self) -> bool:
        """Tell whether it has arrived, without waiting."""
        return self.slot.arrival.query()

    def wait(self) -> None:
        """Wait until it has arrived."""
        self.slot.arrival.synchronize()

    def read(self) -> Snapshot:
        """Return the snapshot and free the slot."""
        try:
            return self._build(self.slot)
        finally:
            self.slot.free = True


class Reader:
    """Copies cells out and resets them.

    Args:
        spec: what is counted.
        state: the accumulators.
        backend: of the device.
        slots: copies that may be under way; one more is kept for `close`.
        detail: step detail that travels along; None when steps are off.
        detail_bytes: room for it in each slot.
        misuse: where a snapshot's problems (options out of range and the like) are noted.
    """

    def __init__(
        self,
        spec: CounterSpec,
        state: CounterState,
        backend: Backend,
        *,
        slots: int,
        detail: StepDetail | None,
        detail_bytes: int,
        misuse: Misuse,
    ) -> None:
        self._spec, self._state, self._detail, self._misuse = spec, state, detail, misuse
        self._empty = state.buffer.clone()
        self._slots = [Slot(backend, state.layout.cells, detail_bytes) for _ in range(slots + 1)]

    def start(self, tag: Tag) -> Copy:
        """Start one copy of everything and reset the cells behind it; a slot must be free."""
        slot = next(slot for slot in self._slots if slot.free)
        detail, chunks, shed = self._detail.collect() if self._detail is not None else ([], [], 0)
        if detail:
            joined = torch.cat([self._state.buffer.view(torch.uint8), *detail])
            slot.host.narrow(0, 0, joined.shape[0]).copy_(joined, non_blocking=True)
        else:
            slot.cells.copy_(self._state.buffer, non_blocking=True)
        slot.arrival.record()
        slot.free = False
        self.reset()
        return Copy(slot, lambda arrived: self._snapshot(arrived, tag, chunks, shed))

    def reset(self) -> None:
        """Set all cells to empty."""
        self._state.buffer.copy_(self._empty)

    def _snapshot(self, slot: Slot, tag: Tag, chunks: Sequence[Chunk], shed: int) -> Snapshot:
        split = self._state.layout.int_cells
        ints: list[int] = slot.cells[:split].tolist()
        reals: list[float] = slot.cells[split:].view(torch.float64).tolist()
        blocks = []
        if self._detail is not None and (chunks or shed):
            data = slot.host[slot.cells.shape[0] * CELL_BYTES :].numpy()
            blocks = self._detail.blocks(data, chunks, shed)
        snapshot = Snapshot(self._spec, ints, reals, tag, blocks)
        for problem in snapshot.problems():
            self._misuse.note("decisions", f"batch {tag.batch_idx}: {problem}")
        return snapshot
