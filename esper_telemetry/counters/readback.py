"""From the device's cells to the host: one copy a flush into one of a few fixed slots.

The reset is queued after the copy on the same stream, so the device itself orders them:
the host neither waits nor needs a second set of accumulators. A `Backend` is where devices
differ: host memory that they can copy into, and the event that tells that a copy has arrived.
Nothing here waits, `Backend.wait` aside.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from esper_telemetry.counters.cells import CELL_BYTES
from esper_telemetry.counters.snapshot import Snapshot
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esper_telemetry.counters.detail import Chunk, StepDetail
    from esper_telemetry.counters.misuse import Misuse
    from esper_telemetry.counters.snapshot import Tag
    from esper_telemetry.counters.spec import CounterSpec
    from esper_telemetry.counters.state import CounterState

# Between two looks at an event in close(): short against a batch, long against a look.
_POLL_SECONDS = 0.0005


class CopyEvent(Protocol):
    """An event on the device's current stream."""

    def record(self) -> None:
        """Mark this point of the stream."""

    def query(self) -> bool:
        """Tell whether the device has passed the mark."""

    def synchronize(self) -> None:
        """Wait until it has."""


class Backend(Protocol):
    """What a bank needs of a device beyond PyTorch's operations."""

    def host_buffer(self, size: int) -> Tensor:
        """Return uint8 [size] on the host, into which the device copies without the host waiting."""

    def arrival(self) -> CopyEvent:
        """Return a new event."""

    def stream(self) -> int:
        """Return a number that tells the current stream from others."""

    def capturing(self) -> bool:
        """Tell whether the current stream is being captured into a graph."""

    def wait(self, arrival: CopyEvent, timeout: float) -> bool:
        """Wait at most `timeout` seconds; tell whether the event has passed."""


class _PassedEvent:
    """On the CPU a copy has arrived when the call returns."""

    def record(self) -> None:
        """Do nothing."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        """Do nothing."""


class CpuBackend:
    """The host as a device: every operation is done when its call returns."""

    def host_buffer(self, size: int) -> Tensor:
        """Return plain memory."""
        return torch.empty(size, dtype=torch.uint8, device="cpu")

    def arrival(self) -> CopyEvent:
        """Return an event that has always passed."""
        return _PassedEvent()

    def stream(self) -> int:
        """Return 0: there is one stream."""
        return 0

    def capturing(self) -> bool:
        """Return False."""
        return False

    def wait(self, arrival: CopyEvent, timeout: float) -> bool:  # noqa: ARG002 - part of the protocol
        """Return at once."""
        return arrival.query()


class _CudaEvent:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        # blocking: result() sleeps instead of spinning on a core that the trainer needs.
        self._event: Any = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch's gap

    def record(self) -> None:
        self._event.record(torch.cuda.current_stream(self._device))

    def query(self) -> bool:
        return bool(self._event.query())

    def synchronize(self) -> None:
        self._event.synchronize()


class CudaBackend:
    """A CUDA (or ROCm) device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def host_buffer(self, size: int) -> Tensor:
        """Return pinned memory: into pageable memory an "async" copy makes the host wait."""
        return torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=True)

    def arrival(self) -> CopyEvent:
        """Return a CUDA event on the bank's device."""
        return _CudaEvent(self._device)

    def stream(self) -> int:
        """Return the address of the current stream."""
        return torch.cuda.current_stream(self._device).cuda_stream

    def capturing(self) -> bool:
        """Tell whether a CUDA graph is being captured."""
        return torch.cuda.is_current_stream_capturing()

    def wait(self, arrival: CopyEvent, timeout: float) -> bool:
        """Look at the event until it has passed or the time is up: CUDA has no wait with a deadline."""
        deadline = time.monotonic() + timeout
        while not arrival.query():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


def indexed(device: torch.device | str) -> torch.device:
    """Return `device` with its index, so that a tensor on another one is told apart."""
    found = torch.device(device)
    return torch.device("cuda", torch.cuda.current_device()) if str(found) == "cuda" else found


def backend_of(device: torch.device) -> Backend:
    """Return the backend for `device`.

    Raises:
        CounterError: there is none.
    """
    if device.type == "cpu":
        return CpuBackend()
    if device.type == "cuda":
        return CudaBackend(device)
    raise CounterError(f"device {str(device)!r}: banks run on cpu and cuda; pass backend= for another kind of device")


class Slot:
    """Host memory for one copy, and the event that tells that it has arrived.

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
