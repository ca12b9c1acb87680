"""Where a device differs: host memory it can copy into, and the event that says a copy has arrived.

Nothing here waits, `wait` aside.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch
from torch import Tensor

from esper_telemetry.errors import CounterError

# Between two looks at an event in close(): short against a batch, long against a look.
_POLL_SECONDS = 0.0005


class Arrival(Protocol):
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

    def arrival(self) -> Arrival:
        """Return a new event."""

    def stream(self) -> int:
        """Return a number that tells the current stream from others."""

    def capturing(self) -> bool:
        """Tell whether the current stream is being captured into a graph."""

    def wait(self, arrival: Arrival, timeout: float) -> bool:
        """Wait at most `timeout` seconds; tell whether the event has passed."""


class _Arrived:
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

    def arrival(self) -> Arrival:
        """Return an event that has always passed."""
        return _Arrived()

    def stream(self) -> int:
        """Return 0: there is one stream."""
        return 0

    def capturing(self) -> bool:
        """Return False."""
        return False

    def wait(self, arrival: Arrival, timeout: float) -> bool:  # noqa: ARG002 - part of the protocol
        """Return at once."""
        return arrival.query()


class _CudaArrival:
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

    def arrival(self) -> Arrival:
        """Return a CUDA event on the bank's device."""
        return _CudaArrival(self._device)

    def stream(self) -> int:
        """Return the address of the current stream."""
        return torch.cuda.current_stream(self._device).cuda_stream

    def capturing(self) -> bool:
        """Tell whether a CUDA graph is being captured."""
        return torch.cuda.is_current_stream_capturing()

    def wait(self, arrival: Arrival, timeout: float) -> bool:
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
